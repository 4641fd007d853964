// PostgreSQL behind Store, for several nodes on one state.
//
// The state lies there in shards, each owned by one node at a time: it holds the shard's lease (leases.hpp), whose epoch grows with each
// owner. Every commit checks in its own transaction that the epoch is still the committer's, and taking a lease waits for commits under
// way: whoever lost it, however late it wakes up, writes nothing more (fencing; Kleppmann, "How to do distributed locking", 2016).
// Schema: snapward.rows (shard, tbl, key, value), snapward.leases, snapward.nodes, snapward.cluster, snapward.layout.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/store.hpp"

namespace snapward::store {

struct Database {
  std::vector<std::string> shards;  // that its state is split into, by name
  std::string secret;               // that whoever may read the database knows: by it nodes know each other
};

// Makes or brings up to date the tables at "postgresql://user@host:port/database". A state that nobody has owned yet is split into
// `shards`; any other stays split as it is. Errors: unavailable; a layout from the future is one.
Result<Database> prepare_postgres(const std::string& url, const std::vector<std::string>& shards);

// A shard's rows, for its owner of this epoch. A commit of another's shard fails as `fenced`. Reads wait for a database that is away, for
// a minute.
Result<std::unique_ptr<Store>> open_postgres(const std::string& url, const std::string& shard, std::int64_t epoch);

}  // namespace snapward::store
