// One suite for every Store.
#include "store/store.hpp"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>

namespace snapward::store {
namespace {

std::string fresh_folder() {
  std::string path = std::filesystem::temp_directory_path() / "snapward-store-XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

class StoreSuite : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
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

INSTANTIATE_TEST_SUITE_P(Stores, StoreSuite, testing::Values("memory", "sqlite"), [](const auto& i) { return i.param; });

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

}  // namespace
}  // namespace snapward::store
