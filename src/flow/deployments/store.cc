#include "flow/deployments/store.h"

#include <fmt/format.h>

namespace tidemill::deployments {
namespace {

constexpr sql::Query kInsert{"deployments.insert",
                             "INSERT INTO deployments (name, model, revision, definition) VALUES (?1, ?2, ?3, ?4)"};
constexpr sql::Query kUpdate{
    "deployments.update",
    "UPDATE deployments SET revision = ?2, definition = ?3 WHERE name = ?1 AND revision = ?2 - 1"};
constexpr sql::Query kGet{"deployments.get", "SELECT definition FROM deployments WHERE name = ?1"};
constexpr sql::Query kAll{"deployments.all", "SELECT definition FROM deployments ORDER BY name"};
constexpr sql::Query kInsertPolicy{
    "deployment_policies.insert",
    "INSERT INTO deployment_policies (deployment, name, approval, definition) VALUES (?1, ?2, ?3, ?4)"};
constexpr sql::Query kUpdatePolicy{
    "deployment_policies.update", "UPDATE deployment_policies SET definition = ?3 WHERE deployment = ?1 AND name = ?2"};
constexpr sql::Query kGetPolicy{
    "deployment_policies.get",
    "SELECT definition, approval FROM deployment_policies WHERE deployment = ?1 AND name = ?2"};
constexpr sql::Query kAllPolicies{"deployment_policies.all",
                                  "SELECT definition FROM deployment_policies WHERE deployment = ?1 ORDER BY name"};
constexpr sql::Query kFindRelease{"deployment_releases.find",
                                  "SELECT result FROM deployment_releases WHERE once_key = ?1"};
constexpr sql::Query kInsertRelease{"deployment_releases.insert",
                                    "INSERT INTO deployment_releases (once_key, result) VALUES (?1, ?2)"};

std::string first_text(const sql::Row& row) { return row.string(0); }

template <class T, class... Args>
Result<std::vector<T>> decode_all(sql::Tx& tx, const sql::Query& query, const Args&... args) {
  std::vector<T> out;
  for (const auto& text : TM_TRY(tx.all<std::string>(query, first_text, args...)))
    out.push_back(TM_TRY(json::decode<T>(text)));
  return out;
}

}  // namespace

Result<void> insert_deployment(sql::Tx& tx, const Deployment& deployment) {
  auto inserted = tx.exec(kInsert, deployment.name, deployment.model, deployment.revision, json::encode(deployment));
  if (!inserted && inserted.error().code == Code::kAlreadyExists) {
    return fail(Code::kAlreadyExists, "deployments.taken",
                fmt::format("There is a deployment '{}' already.", deployment.name),
                "Choose another name, or start a canary on it.", {{"deployment", deployment.name}});
  }
  TM_CHECK(inserted);
  return {};
}

Result<void> update_deployment(sql::Tx& tx, const Deployment& deployment) {
  if (TM_TRY(tx.exec(kUpdate, deployment.name, deployment.revision, json::encode(deployment))) == 1) return {};
  return fail(Code::kConflict, "deployments.changed",
              fmt::format("'{}' was changed by somebody else meanwhile.", deployment.name),
              "Look at it again, then repeat.");
}

Result<Deployment> get_deployment(sql::Tx& tx, std::string_view name) {
  const auto found = TM_TRY(tx.one<std::string>(kGet, first_text, name));
  if (found) return json::decode<Deployment>(*found);
  return fail(Code::kNotFound, "deployments.unknown", fmt::format("There is no deployment '{}'.", name.substr(0, 128)),
              "List them with 'tidemill deployments list'.", {{"deployment", std::string(name.substr(0, 128))}});
}

Result<std::vector<Deployment>> all_deployments(sql::Tx& tx) { return decode_all<Deployment>(tx, kAll); }

Result<void> insert_policy(sql::Tx& tx, const StoredPolicy& stored) {
  auto inserted = tx.exec(kInsertPolicy, stored.policy.deployment, stored.policy.name, stored.approval,
                          json::encode(stored.policy));
  if (!inserted && inserted.error().code == Code::kAlreadyExists) {
    return fail(Code::kAlreadyExists, "policies.taken",
                fmt::format("'{}' has a policy '{}' already.", stored.policy.deployment, stored.policy.name),
                "Choose another name.");
  }
  TM_CHECK(inserted);
  return {};
}

Result<void> update_policy(sql::Tx& tx, const Policy& policy) {
  TM_CHECK(tx.exec(kUpdatePolicy, policy.deployment, policy.name, json::encode(policy)));
  return {};
}

Result<StoredPolicy> get_policy(sql::Tx& tx, std::string_view deployment, std::string_view name) {
  struct Raw {
    std::string definition;
    access::ApprovalId approval;
  };
  const auto raw = TM_TRY(tx.one<Raw>(
      kGetPolicy,
      [](const sql::Row& row) {
        return Raw{row.string(0), row.id<access::ApprovalId>(1)};
      },
      deployment, name));
  if (raw) return StoredPolicy{TM_TRY(json::decode<Policy>(raw->definition)), raw->approval};
  return fail(Code::kNotFound, "policies.unknown",
              fmt::format("'{}' has no policy '{}'.", deployment, name.substr(0, 128)),
              "Add it, and have a second person approve it.");
}

Result<std::vector<Policy>> all_policies(sql::Tx& tx, std::string_view deployment) {
  return decode_all<Policy>(tx, kAllPolicies, deployment);
}

Result<std::optional<json::Object>> find_release(sql::Tx& tx, std::string_view once_key) {
  const auto found = TM_TRY(tx.one<std::string>(kFindRelease, first_text, once_key));
  if (!found) return std::optional<json::Object>();
  return std::optional(TM_TRY(json::decode<json::Object>(*found)));
}

Result<void> insert_release(sql::Tx& tx, std::string_view once_key, const json::Object& result) {
  TM_CHECK(tx.exec(kInsertRelease, once_key, json::serialize(result)));
  return {};
}

}  // namespace tidemill::deployments
