// The tables of deployments. Private to this room.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/types.h"
#include "base/result.h"
#include "flow/deployments/types.h"
#include "storage/sql/database.h"

namespace tidemill::deployments {

struct StoredPolicy {
  Policy policy;
  access::ApprovalId approval;
};

[[nodiscard]] Result<void> insert_deployment(sql::Tx& tx, const Deployment& deployment);
// Writes the next revision; kConflict when `deployment.revision - 1` is not the stored one.
[[nodiscard]] Result<void> update_deployment(sql::Tx& tx, const Deployment& deployment);
[[nodiscard]] Result<Deployment> get_deployment(sql::Tx& tx, std::string_view name);  // kNotFound
[[nodiscard]] Result<std::vector<Deployment>> all_deployments(sql::Tx& tx);

[[nodiscard]] Result<void> insert_policy(sql::Tx& tx, const StoredPolicy& policy);
[[nodiscard]] Result<void> update_policy(sql::Tx& tx, const Policy& policy);
[[nodiscard]] Result<StoredPolicy> get_policy(sql::Tx& tx, std::string_view deployment,
                                              std::string_view name);  // kNotFound
[[nodiscard]] Result<std::vector<Policy>> all_policies(sql::Tx& tx, std::string_view deployment);

[[nodiscard]] Result<std::optional<json::Object>> find_release(sql::Tx& tx, std::string_view once_key);
[[nodiscard]] Result<void> insert_release(sql::Tx& tx, std::string_view once_key, const json::Object& result);

}  // namespace tidemill::deployments
