// One suite for every Store.
#include "store/store.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <xxhash.h>
#include <zstd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "store/backup.hpp"
#include "store/journal.hpp"
#include "store/leases.hpp"
#include "store/packing.hpp"
#include "store/postgres.hpp"
#include "store/pq.hpp"

namespace snapward::store {
namespace {

std::string fresh_folder() {
  std::string path = std::filesystem::temp_directory_path() / "snapward-store-XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

// A database of the tests' own: './dev test' and tests/nodes/postgres.py make one.
constexpr const char* kNoDatabase = "no PostgreSQL: SNAPWARD_TEST_POSTGRES is not set (tests/nodes/postgres.py COMMAND sets it)";
std::string database() {
  const char* url = std::getenv("SNAPWARD_TEST_POSTGRES");
  return url ? url : "";
}
void sql(const std::string& text) {
  pq::Connection connection{std::chrono::seconds(10)};
  ASSERT_TRUE(connection.ensure(database()));
  const auto done = connection.run(text);
  ASSERT_TRUE(done) << done.error().message;
}
bool fresh_database() {
  if (database().empty()) return false;
  sql("DROP SCHEMA IF EXISTS snapward CASCADE");
  const auto prepared = prepare_postgres(database(), {"east", "west"});
  EXPECT_TRUE(prepared) << prepared.error().message;
  return true;
}

class StoreSuite : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "postgres" && !fresh_database()) GTEST_SKIP() << kNoDatabase;
    folder_ = fresh_folder();
    open();
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  void open() {
    store_.reset();
    if (GetParam() == "memory") {
      store_ = open_memory();
    } else if (GetParam() == "postgres") {
      auto opened = open_postgres(database(), "east", 0);
      ASSERT_TRUE(opened) << opened.error().message;
      store_ = *std::move(opened);
    } else {
      auto opened = open_sqlite(folder_);
      ASSERT_TRUE(opened) << opened.error().message;
      store_ = *std::move(opened);
    }
  }
  std::string keys(const Range& range) {
    std::string out;
    const auto rows = store_->scan("t", range);
    EXPECT_TRUE(rows.has_value());
    for (const Row& row : *rows) out += row.key + '=' + row.value + ' ';
    return out;
  }
  std::string folder_;
  std::unique_ptr<Store> store_;
};

TEST_P(StoreSuite, ReadsWhatWasCommitted) {
  ASSERT_TRUE(store_->commit({{"t", "a", "1"}, {"t", "b", std::string("\0x", 2)}, {"u", "a", ""}}));
  EXPECT_EQ(*store_->get("t", "a"), "1");
  EXPECT_EQ(*store_->get("t", "b"), std::string("\0x", 2));
  EXPECT_EQ(*store_->get("u", "a"), "");
  EXPECT_EQ(*store_->get("t", "c"), std::nullopt);
  EXPECT_EQ(*store_->get("v", "a"), std::nullopt);
}

TEST_P(StoreSuite, ReplacesAndErases) {
  ASSERT_TRUE(store_->commit({{"t", "a", "1"}, {"t", "b", "2"}}));
  ASSERT_TRUE(store_->commit({{"t", "a", "3"}, {"t", "b", std::nullopt}, {"t", "nothing", std::nullopt}}));
  EXPECT_EQ(keys({}), "a=3 ");
}

TEST_P(StoreSuite, ScansRangesInKeyOrder) {
  ASSERT_TRUE(
      store_->commit({{"t", "b/2", "2"}, {"t", "a", "0"}, {"t", "b/1", "1"}, {"t", "b/3", "3"}, {"t", "c", "4"}, {"other", "b/9", "9"}}));
  EXPECT_EQ(keys(Range::prefix("b/")), "b/1=1 b/2=2 b/3=3 ");
  EXPECT_EQ(keys({.from = "b/2", .to = "c"}), "b/2=2 b/3=3 ");
  EXPECT_EQ(keys({.from = "b/2", .to = ""}), "b/2=2 b/3=3 c=4 ");
  EXPECT_EQ(keys({.from = "b/", .to = "c", .limit = 2, .newest_first = true}), "b/3=3 b/2=2 ");
  EXPECT_EQ(keys({.from = "", .to = "", .limit = 1, .newest_first = true}), "c=4 ");
  EXPECT_EQ(keys(Range::prefix("zz")), "");
}

TEST_P(StoreSuite, KeepsLargeValuesAndThoseThatLookPacked) {
  std::string large, noise, packed_look("\x28\xB5\x2F\xFD and so on", 14);
  for (int i = 0; i < 5000; ++i) large += "{\"event\":" + std::to_string(i) + "},";
  for (unsigned i = 0, x = 1; i < 5000; ++i) noise += static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
  ASSERT_TRUE(store_->commit({{"t", "large", large}, {"t", "look", packed_look}, {"t", "noise", noise}, {"t", "none", ""}}));
  EXPECT_EQ(*store_->get("t", "large"), large);
  EXPECT_EQ(*store_->get("t", "look"), packed_look);
  EXPECT_EQ(*store_->get("t", "noise"), noise);
  const auto rows = store_->scan("t", {});
  ASSERT_TRUE(rows && rows->size() == 4);
  EXPECT_EQ((*rows)[0].value, large);
  EXPECT_EQ((*rows)[1].value, packed_look);
}

TEST_P(StoreSuite, PrefixEndingInTheHighestByte) {
  ASSERT_TRUE(store_->commit({{"t", "a\xff", "1"}, {"t", "a\xff\xff", "2"}, {"t", "b", "3"}}));
  EXPECT_EQ(keys(Range::prefix("a\xff")), "a\xff=1 a\xff\xff=2 ");
}

TEST_P(StoreSuite, KeepsWhatWasCommittedOverReopening) {
  if (GetParam() == "memory") GTEST_SKIP() << "memory forgets by design";
  ASSERT_TRUE(store_->commit({{"t", "a", "1"}}));
  open();
  EXPECT_EQ(*store_->get("t", "a"), "1");
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreSuite, testing::Values("memory", "sqlite", "postgres"), [](const auto& i) { return i.param; });

// Frames name their dictionary: those of before layout 5 none, and those of a dictionary that is not ours are not misread.
TEST(Packing, ReadsFramesByTheDictionaryTheyName) {
  std::string text = R"([{"timestamp":"2026-01-01T00:00:00.000Z","type":"ExecutionStarted","id":1,"previousEventId":0}])";
  text += text;
  Packer packer;
  std::string packed(packer.pack(text));
  EXPECT_EQ(Unpacker().unpack(packed), text);
  EXPECT_EQ(Unpacker().unpack(std::string(packer.pack_fast(text))), text);
  EXPECT_EQ(ZSTD_getDictID_fromFrame(packed.data(), packed.size()), 40001U);
  std::string plain(ZSTD_compressBound(text.size()), '\0');
  plain.resize(ZSTD_compress(plain.data(), plain.size(), text.data(), text.size(), 1));
  EXPECT_EQ(Unpacker().unpack(plain), text);
  EXPECT_LT(packed.size() * 2, plain.size());
  packed[5] = static_cast<char>(packed[5] ^ 1);  // the number's first byte: after the magic number and the frame's descriptor
  EXPECT_EQ(Unpacker().unpack(packed), std::nullopt);
}

TEST(SqliteStore, RefusesASecondOwner) {
  const std::string folder = fresh_folder();
  auto first = open_sqlite(folder);
  ASSERT_TRUE(first);
  const auto second = open_sqlite(folder);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("in use by another snapward"), std::string::npos);
  first->reset();
  EXPECT_TRUE(open_sqlite(folder));
  std::filesystem::remove_all(folder);
}

TEST(SqliteStore, LeavesAFileFromTheFutureAlone) {
  const std::string folder = fresh_folder();
  {
    ASSERT_TRUE(open_sqlite(folder));
  }
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((folder + "/snapward.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA user_version=99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  const auto opened = open_sqlite(folder);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("written by a newer snapward"), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(SqliteStore, SaysWhatIsWrongWithADamagedFile) {
  const std::string folder = fresh_folder();
  std::ofstream(folder + "/snapward.db") << std::string(8192, 'x');
  const auto opened = open_sqlite(folder);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
  EXPECT_NE(opened.error().message.find("restore it from a backup"), std::string::npos) << opened.error().message;
  std::filesystem::remove_all(folder);
}

void run_sql(const std::string& folder, const char* sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((folder + "/snapward.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
}

// Layout 1 kept values as they were, also those that begin as packed ones do now.
TEST(SqliteStore, TakesOverLayoutOne) {
  const std::string folder = fresh_folder();
  ASSERT_TRUE(open_sqlite(folder));
  run_sql(folder, "INSERT INTO rows VALUES (x'74', x'61', x'28B52FFD6162'), (x'74', x'62', x'7b7d'); PRAGMA user_version=1");
  auto opened = open_sqlite(folder);
  ASSERT_TRUE(opened);
  EXPECT_EQ(*(*opened)->get("t", "a"), std::string("\x28\xB5\x2F\xFD\x61\x62", 6));
  EXPECT_EQ(*(*opened)->get("t", "b"), "{}");
  opened->reset();
  EXPECT_TRUE(open_sqlite(folder));
  std::filesystem::remove_all(folder);
}

// Layout 2 kept the values in the index.
TEST(SqliteStore, TakesOverLayoutTwo) {
  const std::string folder = fresh_folder();
  run_sql(folder,
          "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE rows (tbl BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, "
          "PRIMARY KEY (tbl, key)) WITHOUT ROWID; INSERT INTO rows VALUES (x'74', x'61', x'7b7d'), (x'74', x'62', x'5b5d'); PRAGMA "
          "user_version=2");
  for (int again = 0; again < 2; ++again) {
    auto opened = open_sqlite(folder);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(*(*opened)->get("t", "a"), "{}");
    EXPECT_EQ((*opened)->scan("t", {})->size(), 2U);
    ASSERT_TRUE((*opened)->commit({{"t", "b", "new"}}));
    EXPECT_EQ(*(*opened)->get("t", "b"), "new");
  }
  std::filesystem::remove_all(folder);
}

TEST(SqliteStore, GivesBackWhatItNeedsNoMore) {
  const std::string folder = fresh_folder();
  auto store = open_sqlite(folder);
  ASSERT_TRUE(store);
  std::string noise(4000, 'x');  // which does not pack
  std::mt19937_64 chance(1);
  const auto fill = [&] { std::generate(noise.begin(), noise.end(), [&] { return static_cast<char>(chance()); }); };
  for (int i = 0; i < 50; ++i) {  // more would have to wait for the applier, which a busy machine keeps waiting
    std::vector<Write> writes;
    for (int k = 0; k < 100; ++k) fill(), writes.emplace_back("t", fmt::format("{:06}", i * 100 + k), noise);
    const auto done = (*store)->commit(writes);
    ASSERT_TRUE(done) << done.error().message;
  }
  const auto reopen = [&] {
    store->reset();
    store = open_sqlite(folder);
    ASSERT_TRUE(store);
  };
  reopen();
  const auto large = std::filesystem::file_size(folder + "/snapward.db");
  EXPECT_GT(large, 19U << 20);
  std::vector<Write> none;
  for (int i = 0; i < 4900; ++i) none.emplace_back("t", fmt::format("{:06}", i), std::nullopt);
  ASSERT_TRUE((*store)->commit(none));
  reopen();
  EXPECT_EQ((*store)->scan("t", {})->size(), 100U);
  EXPECT_LT(std::filesystem::file_size(folder + "/snapward.db"), large / 2);
  store->reset();
  std::filesystem::remove_all(folder);
}

// ── The journal ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

// Keys as the table of rows would have them, and files made for them whose turns have not begun.
constexpr Journal::Keys kKeys{.files = {Journal::Key{.salt = 11, .former = 1}, {.salt = 22, .former = 2}}, .made = true};

std::string groups_in(const std::string& folder, std::uint64_t after, const Journal::Keys& keys = kKeys) {
  const auto groups = Journal::read(folder, keys, after);
  if (!groups) return groups.error().message;
  std::string out;
  for (const Journal::Group& group : *groups) {
    out += fmt::format("{}:", group.number);
    for (const Write& w : group.writes) out += fmt::format(" {}/{}={}", w.table, w.key, w.value ? w.value->substr(0, 3) : "nothing");
    out += "; ";
  }
  return out;
}

std::string content_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_over(const std::string& file, std::size_t at, std::string_view bytes) {
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  out.seekp(static_cast<std::streamoff>(at));
  out << bytes;
}
void damage(const std::string& file, std::size_t at) { write_over(file, at, std::string(5, '\x5a')); }

constexpr std::size_t kJournalHeader = 512, kRecordHeader = 24;

// Where record `number` of a file begins, and where the file's records end.
std::size_t record_at(const std::string& file, std::uint64_t number, std::size_t& end) {
  const std::string content = content_of(file);
  std::size_t found = 0;
  for (end = kJournalHeader; end + kRecordHeader <= content.size();) {
    std::uint32_t mark = 0, length = 0;
    std::uint64_t n = 0;
    std::memcpy(&mark, content.data() + end, 4);
    std::memcpy(&length, content.data() + end + 4, 4);
    std::memcpy(&n, content.data() + end + 8, 8);
    if (mark == 0) break;
    if (n == number) found = end;
    end += kRecordHeader + length;
  }
  return found;
}

// What of a data folder others than its user have rights to.
std::string readable_for_others(const std::string& folder) {
  std::string out;
  const auto look = [&](const std::filesystem::path& path) {
    if ((std::filesystem::status(path).permissions() & std::filesystem::perms(077)) != std::filesystem::perms::none)
      out += path.string() + ' ';
  };
  look(folder);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) look(entry.path());
  return out;
}

// A record as snapward wrote it before layout 6.
std::string unsalted_record(std::uint64_t number, std::string_view key, std::string_view value) {
  std::string body;
  const auto put = [&body](std::size_t n) { body.append(reinterpret_cast<const char*>(&n), 4); };
  put(1), put(key.size()), put(value.size());
  body.append("t").append(key).append(value);
  body = std::string(Packer().pack_fast(body));
  const std::uint64_t checksum = XXH3_64bits_withSeed(body.data(), body.size(), number);
  const auto length = static_cast<std::uint32_t>(body.size());
  std::string record = "SNWJ";
  record.append(reinterpret_cast<const char*>(&length), 4).append(reinterpret_cast<const char*>(&number), 8);
  return record.append(reinterpret_cast<const char*>(&checksum), 8).append(body);
}

struct JournalTest : testing::Test {
  void SetUp() override { ASSERT_TRUE(Journal::make(folder, {1, 2})); }
  ~JournalTest() override { std::filesystem::remove_all(folder); }
  std::string folder = fresh_folder();
};

TEST_F(JournalTest, HoldsWhatIsBehindANumber) {
  EXPECT_EQ(groups_in(folder, 6), "");
  {
    Journal journal;
    ASSERT_TRUE(journal.open(folder, 7, 11));
    ASSERT_TRUE(journal.append({{"t", "a", "1"}, {"u", "b", std::nullopt}}));
    ASSERT_TRUE(journal.append({{"t", "a", ""}}));
    EXPECT_EQ(journal.next(), 9U);
  }
  EXPECT_EQ(groups_in(folder, 6), "7: t/a=1 u/b=nothing; 8: t/a=; ");
  EXPECT_EQ(groups_in(folder, 7), "8: t/a=; ");
  EXPECT_EQ(groups_in(folder, 8), "");
  // Written anew from the beginning, what stands behind is of another turn.
  Journal journal;
  ASSERT_TRUE(journal.open(folder, 9, 12));
  ASSERT_TRUE(journal.append({{"t", "c", "3"}}));
  Journal::Keys next = kKeys;
  next.files[0] = {.salt = 12, .former = 11};
  EXPECT_EQ(groups_in(folder, 8, next), "9: t/c=3; ");
  EXPECT_EQ(
      groups_in(folder, 6, next),
      fmt::format("the journal in '{}' is damaged: group 7 is missing, and later ones are there; restore the state from a backup", folder));
}

TEST_F(JournalTest, GoesOnInTheOtherFile) {
  Journal journal;
  ASSERT_TRUE(journal.open(folder, 1, 11));
  ASSERT_TRUE(journal.append({{"t", "a", "1"}}));
  journal.turn(22);
  EXPECT_EQ(groups_in(folder, 0), "1: t/a=1; ") << "the turn has not begun";
  ASSERT_TRUE(journal.append({{"t", "b", "2"}}));
  EXPECT_EQ(groups_in(folder, 0), "1: t/a=1; 2: t/b=2; ");
}

// What a power cut leaves of a commit under way: the commits before it are there, the torn one is not.
TEST_F(JournalTest, ATornLastGroupIsNone) {
  Journal journal;
  ASSERT_TRUE(journal.open(folder, 1, 11));
  for (const char* key : {"a", "b"}) ASSERT_TRUE(journal.append({{"t", key, std::string(3000, key[0])}}));
  std::size_t end = 0;
  record_at(folder + "/journal-0", 2, end);
  damage(folder + "/journal-0", end - 5);
  EXPECT_EQ(groups_in(folder, 0), "1: t/a=aaa; ");
}

// A turn begins with a header and a record, in one flush: of a power cut before its end, each sector may be there or not.
TEST_F(JournalTest, ATurnOfWhichOnlyAPartIsThereHasNotBegun) {
  const std::string file = folder + "/journal-0", before = content_of(file);
  {
    Journal journal;
    ASSERT_TRUE(journal.open(folder, 5, 11));
    ASSERT_TRUE(journal.append({{"t", "a", "1"}}));
  }
  const std::string after = content_of(file);
  write_over(file, 0, before.substr(0, kJournalHeader));
  EXPECT_EQ(groups_in(folder, 4), "") << "the record without the header";
  write_over(file, 0, after.substr(0, kJournalHeader));
  damage(file, kJournalHeader + 30);
  EXPECT_EQ(groups_in(folder, 4), "") << "the header without the record";
}

TEST_F(JournalTest, AGroupThatIsMissingInTheMiddleIsAnError) {
  Journal journal;
  ASSERT_TRUE(journal.open(folder, 1, 11));
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(journal.append({{"t", key, key}}));
  std::size_t end = 0;
  damage(folder + "/journal-0", record_at(folder + "/journal-0", 2, end) + 30);
  EXPECT_NE(groups_in(folder, 0).find("group 2 is missing, and later ones are there; restore the state from a backup"), std::string::npos)
      << groups_in(folder, 0);
  EXPECT_EQ(groups_in(folder, 2), "3: t/c=c; ");
}

// A folder of a server that was killed: acknowledged are t/0 … t/9, the last of them in the journal only.
struct KilledTest : testing::Test {
  void SetUp() override {
    live = open_sqlite(folder);
    ASSERT_TRUE(live);
    early = copy("early");
    for (int i = 0; i < 10; ++i) ASSERT_TRUE((*live)->commit({{"t", std::to_string(i), std::string(3000, static_cast<char>('0' + i))}}));
    killed = copy("killed");
  }
  ~KilledTest() override {
    live->reset();
    std::filesystem::remove_all(folder);
    for (const std::string& each : copies) std::filesystem::remove_all(each);
  }
  std::string copy(const std::string& name) {
    const std::string to = folder + "-" + name;
    std::filesystem::copy(folder, to);
    copies.push_back(to);
    return to;
  }
  // How opening fails; empty: it does not, and all is there.
  static std::string opened(const std::string& state) {
    const auto store = open_sqlite(state);
    if (!store) {
      EXPECT_EQ(store.error().code, ErrorCode::corrupt);
      return store.error().message;
    }
    for (int i = 0; i < 10; ++i)
      EXPECT_EQ((*store)->get("t", std::to_string(i))->value_or("none"), std::string(3000, static_cast<char>('0' + i)));
    return "";
  }
  std::string folder = fresh_folder(), early, killed;
  std::vector<std::string> copies;
  Result<std::unique_ptr<Store>> live = std::unique_ptr<Store>();
};

TEST_F(KilledTest, NothingIsMissing) {
  EXPECT_EQ(opened(killed), "");
  EXPECT_EQ(opened(killed), "");
}

// Each of these once was a state with less in it, and not a word said.
TEST_F(KilledTest, AJournalThatDoesNotBelongIsRefused) {
  const std::string other = fresh_folder();
  ASSERT_TRUE(open_sqlite(other));
  const std::string foreign = content_of(other + "/journal-0"), of_its_own = content_of(killed + "/journal-0");
  std::filesystem::remove_all(other);
  const struct {
    const char* name;
    std::function<void(const std::string& file)> harm;
    const char* said;
  } kCases[] = {
      {"missing", [](const auto& file) { std::filesystem::remove(file); }, "journal-0 is missing"},
      {"empty", [](const auto& file) { std::filesystem::resize_file(file, 0); }, "journal-0 is shorter than 16 MiB"},
      {"short", [](const auto& file) { std::filesystem::resize_file(file, Journal::kFileSize - 1); }, "journal-0 is shorter than 16 MiB"},
      {"of another folder", [&](const auto& file) { write_over(file, 0, foreign); }, "journal-0 belongs to another data folder"},
      {"zeros", [](const auto& file) { write_over(file, 0, std::string(Journal::kFileSize, '\0')); }, "journal-0 has no readable header"},
      {"flipped salt", [&](const auto& file) { write_over(file, 8, std::string(1, static_cast<char>(of_its_own[8] ^ 1))); },
       "journal-0 has no readable header"},
      {"torn header", [](const auto& file) { damage(file, 20); }, "journal-0 has no readable header"},
      {"damaged in the middle",
       [](const auto& file) {
         std::size_t end = 0;
         damage(file, record_at(file, 5, end) + 40);
       },
       "group 5 is missing"},
  };
  for (const auto& each : kCases) {
    const std::string harmed = copy(std::string("harmed ") + each.name);
    std::filesystem::remove_all(harmed);
    std::filesystem::copy(killed, harmed);
    each.harm(harmed + "/journal-0");
    for (int again = 0; again < 2; ++again) {
      const std::string said = opened(harmed);
      EXPECT_NE(said.find(each.said), std::string::npos) << each.name << ": " << said;
      EXPECT_NE(said.find("restore the state from a backup"), std::string::npos) << each.name << ": " << said;
    }
    const auto saved = back_up(harmed, harmed + "/saved.db");
    ASSERT_FALSE(saved) << each.name;
    EXPECT_NE(saved.error().message.find(each.said), std::string::npos) << saved.error().message;
  }
}

TEST_F(KilledTest, AnOlderCopyOfItsOwnJournalIsRefused) {
  const std::string older = content_of(killed + "/journal-0");
  ASSERT_EQ(opened(killed), "");  // a life in between
  ASSERT_EQ(opened(killed), "");
  write_over(killed + "/journal-0", 0, older);
  EXPECT_NE(opened(killed).find("journal-0 belongs to another data folder, or to another time of this one"), std::string::npos);
}

// The turn that the keys await has not begun; what the file holds is in the table.
TEST_F(KilledTest, AFormerTurnIsNotTakenUpAgain) {
  ASSERT_EQ(opened(killed), "");
  const auto groups = Journal::groups_in(content_of(killed + "/journal-0"), std::nullopt, 0);
  ASSERT_TRUE(groups && groups->empty()) << "without its salt, no record is one";
  run_sql(killed, "DELETE FROM rows WHERE key = x'33'");
  const auto store = open_sqlite(killed);
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_EQ(*(*store)->get("t", "3"), std::nullopt);
}

TEST_F(KilledTest, ADatabaseAloneIsNotAnEmptyState) {
  for (const char* part : {"journal-0", "journal-1", "snapward.db-wal", "snapward.db-shm"}) std::filesystem::remove(killed + "/" + part);
  EXPECT_NE(opened(killed).find("journal-0 is missing"), std::string::npos);
}

TEST_F(KilledTest, WithoutItsLogTheDatabaseTakesUpAllFromTheJournal) {
  for (const char* part : {"snapward.db-wal", "snapward.db-shm"}) std::filesystem::remove(killed + "/" + part);
  EXPECT_EQ(opened(killed), "");
}

TEST_F(KilledTest, AJournalWithoutItsDatabaseIsRefused) {
  for (const char* part : {"snapward.db", "snapward.db-wal", "snapward.db-shm"}) std::filesystem::remove(killed + "/" + part);
  const std::string said = opened(killed);
  EXPECT_NE(said.find("its snapward.db is missing, or was replaced"), std::string::npos) << said;
  EXPECT_FALSE(std::filesystem::exists(killed + "/snapward.db")) << "nothing was made";
}

TEST_F(KilledTest, ABackupIsNotPutBesideAnothersJournal) {
  const std::string file = copy("backup") + "/saved.db";
  ASSERT_TRUE(back_up(killed, file));
  for (const char* part : {"snapward.db", "snapward.db-wal", "snapward.db-shm"}) std::filesystem::remove(killed + "/" + part);
  std::filesystem::copy(file, killed + "/snapward.db");
  EXPECT_NE(opened(killed).find("journal-0 in"), std::string::npos);
  Journal::remove(killed);
  EXPECT_EQ(opened(killed), "");
}

// Clients store whole journals, of this folder and of another, as it runs; the server is killed before any of it is in the table.
TEST_F(KilledTest, BytesOfClientsAreNeverRecords) {
  std::vector<std::string> journals;
  for (const std::string& from : {early, killed})
    for (const char* file : {"/journal-0", "/journal-1"}) journals.push_back(content_of(from + file).substr(0, std::size_t{2} << 20));
  const std::string other = fresh_folder();
  {
    auto theirs = open_sqlite(other);
    ASSERT_TRUE(theirs);
    for (int i = 0; i < 40; ++i) ASSERT_TRUE((*theirs)->commit({{"t", std::to_string(i), "forged"}}));
    journals.push_back(content_of(other + "/journal-0").substr(0, std::size_t{2} << 20));
  }
  std::filesystem::remove_all(other);
  // As of before layout 6, and what an attacker could compute then: the next number, and one that is far away.
  for (const std::uint64_t number : {std::uint64_t{12}, std::uint64_t{1} << 60}) journals.push_back(unsalted_record(number, "3", "forged"));
  std::mt19937_64 chance(3);
  std::string noise(4000, 'x');  // so that zstd keeps what follows as it is
  for (char& c : noise) c = static_cast<char>(chance());
  for (std::size_t i = 0; i < journals.size(); ++i) ASSERT_TRUE((*live)->commit({{"s3", std::to_string(i), noise + journals[i]}}));
  const std::string attacked = copy("attacked");
  EXPECT_EQ(opened(attacked), "");
  const auto store = open_sqlite(attacked);
  ASSERT_TRUE(store);
  for (std::size_t i = 0; i < journals.size(); ++i)
    EXPECT_EQ((*store)->get("s3", std::to_string(i))->value_or("") == noise + journals[i], true);
}

// A folder of layout 5 whose server was killed: group 1 is in the table, 2 and 3 in the journal only.
TEST(SqliteStore, TakesOverAJournalOfLayoutFive) {
  const std::string folder = fresh_folder();
  run_sql(folder,
          "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; CREATE TABLE rows (tbl BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, "
          "PRIMARY KEY (tbl, key)); INSERT INTO rows VALUES (x'74', x'61', x'31'); CREATE TABLE progress (id INTEGER PRIMARY KEY, applied "
          "INTEGER NOT NULL); INSERT INTO progress VALUES (0, 1); PRAGMA user_version=5");
  std::string journal = unsalted_record(1, "a", "1") + unsalted_record(2, "b", "2") + unsalted_record(3, "c", "3");
  journal.resize(Journal::kFileSize);
  std::ofstream(folder + "/journal-0", std::ios::binary) << journal;
  std::ofstream(folder + "/journal-1", std::ios::binary) << std::string(Journal::kFileSize, '\0');
  std::ofstream(folder + "/mail.mbox") << "To: somebody";
  std::filesystem::permissions(folder, std::filesystem::perms(0755));
  for (const char* file : {"/journal-0", "/snapward.db", "/mail.mbox"})
    std::filesystem::permissions(folder + file, std::filesystem::perms(0644));
  for (int again = 0; again < 3; ++again) {
    const auto store = open_sqlite(folder);
    ASSERT_TRUE(store) << store.error().message;
    for (const char* row : {"a1", "b2", "c3"}) EXPECT_EQ((*store)->get("t", std::string(row, 1))->value_or("none"), row + 1);
    ASSERT_TRUE((*store)->commit({{"t", "d", std::to_string(again)}}));
    EXPECT_EQ((*store)->get("t", "d")->value_or("none"), std::to_string(again));
    EXPECT_EQ(readable_for_others(folder), "");
  }
  std::filesystem::remove_all(folder);
}

// Killed while the files of a new or older folder were being made: all is in the table, and whatever stands in the files does not count.
TEST_F(KilledTest, FilesThatWereBeingMadeAreMadeAnew) {
  ASSERT_EQ(opened(killed), "");
  std::string older = unsalted_record(3, "3", "older");
  older.resize(Journal::kFileSize);
  const auto write = [](const std::string& file, std::string_view bytes) { std::ofstream(file, std::ios::binary) << bytes; };
  const struct {
    const char* name;
    std::function<void(const std::string& state)> left;
  } kCases[] = {
      {"none made", [](const auto& state) { Journal::remove(state); }},
      {"the first made in part", [&](const auto& state) { Journal::remove(state), write(state + "/journal-0", std::string(5000, '\0')); }},
      {"both of before layout 6", [&](const auto& state) { write(state + "/journal-0", older), write(state + "/journal-1", older); }},
      {"the second of before layout 6", [&](const auto& state) { write(state + "/journal-1", older); }},
      {"both made", [](const auto&) {}},
  };
  for (const auto& each : kCases) {
    const std::string state = copy(std::string("making ") + each.name);
    std::filesystem::remove_all(state);
    std::filesystem::copy(killed, state);
    run_sql(state, "UPDATE journal SET made = 0");
    each.left(state);
    for (int again = 0; again < 2; ++again) EXPECT_EQ(opened(state), "") << each.name;
  }
}

TEST_F(KilledTest, NobodyElseMayReadTheFiles) {
  ASSERT_EQ(opened(killed), "");
  for (const std::string& state : {folder, killed}) EXPECT_EQ(readable_for_others(state), "");
  const std::string file = copy("backup") + "/saved.db";
  ASSERT_TRUE(back_up(killed, file));
  std::set<std::string> beside;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "-backup"))
    if (entry.path().filename().string().starts_with("saved")) beside.insert(entry.path().filename());
  EXPECT_EQ(beside, std::set<std::string>{"saved.db"}) << "nothing is left beside a backup";
  EXPECT_EQ(std::filesystem::status(file).permissions(), std::filesystem::perms(0600));
  ASSERT_TRUE(restore(file, folder + "-restored"));
  copies.push_back(folder + "-restored");
  EXPECT_EQ(std::filesystem::status(folder + "-restored/snapward.db").permissions(), std::filesystem::perms(0600));
}

// More than both files of the journal hold, several times: they are filled in turn, and reads see every row at any time.
TEST(SqliteStore, TheJournalGoesRound) {
  const std::string folder = fresh_folder();
  auto store = open_sqlite(folder);
  ASSERT_TRUE(store);
  std::mt19937_64 chance(7);
  std::map<std::string, std::string> model;
  for (int i = 0; i < 100; ++i) {
    std::vector<Write> writes;
    for (int k = 0; k < 4; ++k) {
      std::string noise(250'000, 'x');
      for (std::size_t at = 0; at + 8 <= noise.size(); at += 8) {
        const std::uint64_t n = chance();
        std::memcpy(noise.data() + at, &n, 8);
      }
      const std::string key = fmt::format("{:02}", chance() % 40);
      writes.emplace_back("t", key, noise);
      model[key] = noise;
    }
    const std::string gone = fmt::format("{:02}", chance() % 40);
    writes.emplace_back("t", gone, std::nullopt);
    model.erase(gone);
    ASSERT_TRUE((*store)->commit(writes));
    const std::string asked = fmt::format("{:02}", chance() % 40);
    const auto value = (*store)->get("t", asked);
    ASSERT_TRUE(value);
    ASSERT_EQ(value->value_or("none") == (model.contains(asked) ? model[asked] : "none"), true) << asked << " after " << i;
    ASSERT_EQ((*store)->scan("t", {})->size(), model.size()) << i;
  }
  store->reset();
  store = open_sqlite(folder);
  ASSERT_TRUE(store);
  for (const auto& [key, value] : model) EXPECT_EQ((*store)->get("t", key)->value_or("none") == value, true) << key;
  EXPECT_LT(std::filesystem::file_size(folder + "/journal-0"), 20U << 20);
  store->reset();
  std::filesystem::remove_all(folder);
}

TEST(SqliteStore, ADamagedPageIsAnErrorNotAnEmptyAnswer) {
  const std::string folder = fresh_folder();
  {
    auto store = open_sqlite(folder);
    ASSERT_TRUE(store);
    std::vector<Write> writes;
    for (int i = 0; i < 2000; ++i) writes.emplace_back("t", "key" + std::to_string(i), "value " + std::to_string(i));
    ASSERT_TRUE((*store)->commit(writes));
  }
  const auto size = std::filesystem::file_size(folder + "/snapward.db");
  {
    std::fstream out(folder + "/snapward.db", std::ios::in | std::ios::out | std::ios::binary);
    for (std::uintmax_t at = 4096; at + 4096 <= size; at += 4096) {  // all but the first page
      out.seekp(static_cast<std::streamoff>(at));
      out << std::string(64, '\xff');
    }
  }
  auto store = open_sqlite(folder);
  if (store) {
    const auto rows = (*store)->scan("t", {});
    ASSERT_FALSE(rows);
    EXPECT_EQ(rows.error().code, ErrorCode::corrupt);
    EXPECT_NE(rows.error().message.find("restore it from a backup"), std::string::npos) << rows.error().message;
  }
  const auto saved = back_up(folder, folder + "/saved.db");
  ASSERT_FALSE(saved) << "a damaged state must not become a backup";
  EXPECT_FALSE(std::filesystem::exists(folder + "/saved.db"));
  std::filesystem::remove_all(folder);
}

TEST(SqliteStore, BacksUpWhileOpenAndRestores) {
  const std::string folder = fresh_folder(), other = fresh_folder(), file = other + "/it's.db";
  auto store = open_sqlite(folder);
  ASSERT_TRUE(store);
  ASSERT_TRUE((*store)->commit({{"t", "a", std::string(3000, 'a')}, {"t", "b", "1"}}));
  const auto saved = back_up(folder, file);
  ASSERT_TRUE(saved) << saved.error().message;
  EXPECT_EQ(saved->rows, 2);
  ASSERT_TRUE((*store)->commit({{"t", "b", "2"}}));
  EXPECT_EQ(back_up(folder, file).error().code, ErrorCode::conflict);
  EXPECT_EQ(back_up(other, other + "/x").error().code, ErrorCode::not_found);
  EXPECT_EQ(restore(file, folder).error().code, ErrorCode::conflict);
  ASSERT_TRUE(restore(file, other + "/new"));
  auto again = open_sqlite(other + "/new");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*(*again)->get("t", "a"), std::string(3000, 'a'));
  EXPECT_EQ(*(*again)->get("t", "b"), "1");
  std::ofstream(other + "/nonsense") << std::string(9000, 'x');
  EXPECT_EQ(restore(other + "/nonsense", other + "/n2").error().code, ErrorCode::corrupt);
  again->reset();
  store->reset();
  std::filesystem::remove_all(folder);
  std::filesystem::remove_all(other);
}

// ── PostgreSQL ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

struct PostgresTest : testing::Test {
  void SetUp() override {
    if (!fresh_database()) GTEST_SKIP() << kNoDatabase;
  }
  static Leases::Options as(const std::string& node, std::chrono::milliseconds span = std::chrono::milliseconds(600),
                            std::vector<std::string> shards = {"east"}) {
    return {.url = database(), .node = node, .address = "http://" + node, .shards = std::move(shards), .span = span};
  }
  static bool within(std::chrono::milliseconds span, const std::function<bool()>& holds) {
    for (auto left = span; left.count() > 0 && !holds(); left -= std::chrono::milliseconds(10))
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return holds();
  }
};

TEST_F(PostgresTest, WhoLostTheLeaseWritesNothing) {
  std::int64_t first_epoch = 0;
  std::atomic<bool> lost = false;
  Leases first(as("first"));
  first_epoch = *first.acquire("east", [&lost] { lost = true; });
  auto store = open_postgres(database(), "east", first_epoch);
  ASSERT_TRUE(store);
  ASSERT_TRUE((*store)->commit({{"t", "a", "1"}, {"t", "b", "1"}}));
  // As when the first sleeps, and another takes over: its lease is made to end.
  sql("UPDATE snapward.leases SET expires = 'epoch', epoch = epoch + 1, node = 'second' WHERE shard = 'east'");
  const auto late = (*store)->commit({{"t", "a", "2"}, {"t", "b", std::nullopt}, {"t", "c", "2"}});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::fenced);
  EXPECT_EQ(*(*store)->get("t", "a"), "1");
  EXPECT_EQ(*(*store)->get("t", "b"), "1");
  EXPECT_EQ(*(*store)->get("t", "c"), std::nullopt);
  EXPECT_TRUE(within(std::chrono::seconds(2), [&] { return lost.load(); })) << "it hears of it at its next renewal";
  EXPECT_FALSE(first.held("east"));
  // It takes its turn again as any other, with a new epoch; the old one stays worthless.
  const auto again = first.acquire("east", [] {});
  ASSERT_TRUE(again);
  EXPECT_GT(*again, first_epoch + 1);
  EXPECT_EQ((*store)->commit({{"t", "a", "3"}}).error().code, ErrorCode::fenced);
}

// Taking the lease waits for a commit that has passed its fence: the new owner reads everything the old one was told is durable.
TEST_F(PostgresTest, TakingTheLeaseWaitsForCommitsUnderWay) {
  sql("UPDATE snapward.leases SET epoch = 7, node = 'old', expires = 'epoch'");
  pq::Connection committing{std::chrono::seconds(10)};
  ASSERT_TRUE(committing.ensure(database()));
  ASSERT_TRUE(committing.run("BEGIN; SELECT 1 FROM snapward.leases WHERE shard = 'east' AND epoch = 7 FOR KEY SHARE"));
  Leases next(as("next", std::chrono::seconds(4)));
  std::atomic<bool> taken = false;
  std::thread taker([&] { taken = next.acquire("east", [] {}).has_value(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_FALSE(taken);
  ASSERT_TRUE(committing.run("COMMIT"));
  taker.join();
  EXPECT_TRUE(taken);
  EXPECT_EQ(next.epoch("east"), 8);
}

TEST_F(PostgresTest, OneOwnsAndTheNextIsToldAtOnce) {
  Leases first(as("first", std::chrono::seconds(30))), second(as("second", std::chrono::seconds(30)));
  ASSERT_EQ(first.acquire("east", [] {}), 1);
  std::atomic<bool> taken = false;
  std::thread waiting([&] { taken = second.acquire("east", [] {}).has_value(); });
  EXPECT_TRUE(within(std::chrono::seconds(2), [&] { return second.owner("east") == "http://first"; }));
  EXPECT_FALSE(taken);
  first.release("east");  // and the second need not wait for thirty seconds
  waiting.join();
  EXPECT_TRUE(second.held("east"));
  EXPECT_EQ(second.epoch("east"), 2);
  EXPECT_TRUE(within(std::chrono::seconds(2), [&] { return first.owner("east") == "http://second"; }));
}

// A node's end of the bargain: a thread a shard, that owns it until told to leave, lets it go, and asks again.
class Owner {
 public:
  explicit Owner(const Leases::Options& options) : leases_(options) {
    for (const std::string& shard : options.shards)
      threads_.emplace_back([this, shard] {
        std::atomic<bool> told = false;
        while (leases_.acquire(shard, [&told] { told = true; })) {
          while (!told && !stopping_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
          told = false;
          leases_.release(shard);
        }
      });
  }
  ~Owner() { stop(); }
  void stop() {
    leases_.close();
    stopping_ = true;
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    leases_.stop();
  }
  [[nodiscard]] int count(const std::vector<std::string>& shards) const {
    return static_cast<int>(std::ranges::count_if(shards, [&](const auto& s) { return leases_.held(s); }));
  }

 private:
  Leases leases_;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> threads_;
};

TEST_F(PostgresTest, NodesShareTheShardsEvenly) {
  const std::vector<std::string> shards{"a", "b", "c", "d"};
  sql("DELETE FROM snapward.leases; INSERT INTO snapward.leases SELECT s, 0, '', '', 'epoch' FROM unnest('{a,b,c,d}'::text[]) s");
  const auto span = std::chrono::seconds(2);
  Owner first(as("first", span, shards));
  ASSERT_TRUE(within(std::chrono::seconds(3), [&] { return first.count(shards) == 4; })) << "alone it has all";
  Owner second(as("second", span, shards));
  EXPECT_TRUE(within(std::chrono::seconds(6), [&] { return first.count(shards) == 2 && second.count(shards) == 2; }));
  auto third = std::make_unique<Owner>(as("third", span, shards));
  EXPECT_TRUE(within(std::chrono::seconds(6), [&] { return third->count(shards) == 1 && first.count(shards) + second.count(shards) == 3; }))
      << third->count(shards);
  std::this_thread::sleep_for(span);
  EXPECT_EQ(third->count(shards), 1) << "and there it stays";
  first.stop();
  EXPECT_TRUE(within(std::chrono::seconds(3), [&] { return second.count(shards) == 2 && third->count(shards) == 2; }));
}

TEST_F(PostgresTest, AShardsRowsAreItsOwn) {
  auto east = open_postgres(database(), "east", 0), west = open_postgres(database(), "west", 0);
  ASSERT_TRUE(east && west);
  ASSERT_TRUE((*east)->commit({{"t", "a", "east"}, {"t", "b", "east"}}));
  ASSERT_TRUE((*west)->commit({{"t", "a", "west"}, {"t", "b", std::nullopt}}));
  EXPECT_EQ(*(*east)->get("t", "a"), "east");
  EXPECT_EQ(*(*west)->get("t", "a"), "west");
  EXPECT_EQ((*east)->scan("t", {})->size(), 2U);
  EXPECT_EQ((*west)->scan("t", {.from = "a", .to = "c"})->size(), 1U);
}

TEST_F(PostgresTest, AStateThatWasOwnedStaysSplitAsItIs) {
  EXPECT_EQ(prepare_postgres(database(), {"all"})->shards, std::vector<std::string>{"all"}) << "nobody has owned it yet";
  const auto before = prepare_postgres(database(), {"north", "south"});
  EXPECT_EQ(before->shards, (std::vector<std::string>{"north", "south"}));
  sql("UPDATE snapward.leases SET epoch = 1 WHERE shard = 'north'");
  const auto after = prepare_postgres(database(), {"all"});
  EXPECT_EQ(after->shards, before->shards);
  EXPECT_EQ(after->secret, before->secret);
  EXPECT_EQ(after->secret.size(), 36U);
}

// A database of layout 2, as the version before left it: one piece, and one it stays.
TEST_F(PostgresTest, AnOlderStateIsTakenOver) {
  sql(R"(DROP SCHEMA snapward CASCADE; CREATE SCHEMA snapward; CREATE TABLE snapward.layout (layout int NOT NULL); INSERT INTO snapward.layout VALUES (1), (2);
CREATE TABLE snapward.rows (tbl text COLLATE "C" NOT NULL, key bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (tbl, key));
CREATE TABLE snapward.leases (shard text PRIMARY KEY, epoch bigint NOT NULL, node text NOT NULL, address text NOT NULL, expires timestamptz NOT NULL);
INSERT INTO snapward.leases VALUES ('all', 3, '', '', 'epoch'); INSERT INTO snapward.rows VALUES ('t', 'a', 'plain'))");
  EXPECT_EQ(prepare_postgres(database(), {"east", "west"})->shards, std::vector<std::string>{"all"});
  auto store = open_postgres(database(), "all", 3);
  ASSERT_TRUE(store);
  EXPECT_EQ((*store)->scan("t", {})->size(), 1U);
  ASSERT_TRUE((*store)->commit({{"t", "a", "new"}, {"t", "b", "new"}}));
  EXPECT_EQ(*(*store)->get("t", "a"), "new");
}

TEST_F(PostgresTest, LeavesADatabaseFromTheFutureAlone) {
  sql("INSERT INTO snapward.layout VALUES (99)");
  const auto prepared = prepare_postgres(database(), {"east"});
  ASSERT_FALSE(prepared);
  EXPECT_NE(prepared.error().message.find("written by a newer snapward"), std::string::npos);
  EXPECT_FALSE(open_postgres(database(), "east", 0));  // nor does a node that was there before
}

TEST_F(PostgresTest, ALargeCommitAndManyRows) {
  auto store = open_postgres(database(), "east", 0);
  ASSERT_TRUE(store);
  std::vector<Write> writes;
  for (int i = 0; i < 20'000; ++i)
    writes.emplace_back("t", "key" + std::to_string(100'000 + i), std::string(200, static_cast<char>('a' + i % 26)));
  ASSERT_TRUE((*store)->commit(writes));
  EXPECT_EQ((*store)->scan("t", {})->size(), 20'000U);
  EXPECT_EQ((*store)->scan("t", {.from = "key110000", .to = "", .limit = 3})->at(2).key, "key110002");
}

TEST(Postgres, SaysThatItCannotBeReached) {
  const auto prepared = prepare_postgres("postgresql://nobody@127.0.0.1:1/none", {"all"});
  ASSERT_FALSE(prepared);
  EXPECT_TRUE(prepared.error().message.starts_with("PostgreSQL cannot be reached: ")) << prepared.error().message;
}

}  // namespace
}  // namespace snapward::store
