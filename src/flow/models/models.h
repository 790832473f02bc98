// The room of models: what may go live, what it was made of, who answered for it. See README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "access/access.h"
#include "base/clock.h"
#include "base/result.h"
#include "events/events.h"
#include "flow/models/encoder.h"
#include "flow/models/types.h"
#include "flow/requirements/requirements.h"
#include "runtimes/probe.h"
#include "runtimes/runtime.h"
#include "statistics/baseline.h"
#include "storage/blobs/store.h"
#include "storage/sql/database.h"
#include "storage/tables/tables.h"

namespace tidemill::models {

namespace store {
struct Content;
}

constexpr std::string_view kChampion = "champion";  // the alias of the version that a promotion put to work
constexpr std::size_t kNameBytesMax = 256;
constexpr std::size_t kDescriptionBytesMax = 64 * 1024;
constexpr std::size_t kTagKeyBytesMax = 250;
constexpr std::size_t kTagValueBytesMax = 100'000;
constexpr std::size_t kFilesMax = 10'000;
constexpr std::size_t kFilesInEvent = 100;  // further ones are counted only
constexpr std::size_t kBaselineBytesMax = 16u << 20;
constexpr std::string_view kApprovalKind = "models.approve";  // of the approvals that this room asks for

// What is needed to run a version: the session, and the way from rows to its matrix. Immutable: any thread, for as long
// as it is held.
struct Scorer {
  std::string model;
  std::int64_t number = 0;
  std::shared_ptr<const runtimes::Session> session;
  Encoder encoder;
  std::string label_column;

  // Returns the score of every row. Errors of Encoder::encode and Session::score.
  [[nodiscard]] Result<std::vector<double>> score(const tables::Frame& frame) const;
};

struct Parts {
  sql::Database& database;
  events::Events& events;
  access::Access& access;
  requirements::Requirements& requirements;
  blobs::Store& blobs;
  tables::Tables& tables;
  const Clock& clock;
  std::shared_ptr<runtimes::Runtime> runtime;  // null: models are kept but can neither be tested nor served
  const runtimes::Prober& prober;
  std::filesystem::path cache_folder;  // for unpacked model files; may be emptied while the server is down
};

// All functions may be called from any thread. Those with a Tx& join the caller's transaction; the others make their
// own and must not be called within one.
class Models {
 public:
  // Makes or updates its tables and its cache folder. What `parts` refers to must outlive this.
  [[nodiscard]] static Result<std::unique_ptr<Models>> create(Parts parts);

  // --- registered models ---

  // Names are 1 to kNameBytesMax bytes of UTF-8 without '/', ':' and control characters, and not "." or "..".
  // kAlreadyExists. Event models.created.
  [[nodiscard]] Result<Model> add_model(sql::Tx& tx, const access::Actor& actor, std::string_view name,
                                        std::string_view description, const Tags& tags = {},
                                        std::optional<std::int64_t> made_ms = {});
  [[nodiscard]] Result<Model> model(sql::Tx& tx, std::string_view name);
  // All models that `keep` keeps (empty: all), by name.
  [[nodiscard]] Result<std::vector<Model>> list_models(sql::Tx& tx, const std::function<bool(const Model&)>& keep = {});
  [[nodiscard]] Result<Model> describe_model(sql::Tx& tx, const access::Actor& actor, std::string_view name,
                                             std::string_view description);
  // Versions, tags and aliases follow. kAlreadyExists when the new name is taken. Event models.renamed.
  [[nodiscard]] Result<Model> rename_model(sql::Tx& tx, const access::Actor& actor, std::string_view name,
                                           std::string_view new_name);
  // Removes a model with all its versions from view; its events and blobs stay. kFailedPrecondition while a version is
  // approved: archive it first. Event models.deleted.
  [[nodiscard]] Result<void> delete_model(sql::Tx& tx, const access::Actor& actor, std::string_view name);
  // No value deletes; deleting what is not there is no error.
  [[nodiscard]] Result<void> tag_model(sql::Tx& tx, const access::Actor& actor, std::string_view name,
                                       std::string_view key, std::optional<std::string_view> value);

  // --- versions ---

  // Keeps the next version, in state candidate. Where `onnx` is given the file is inspected and probed first, so this
  // takes as long as a load. kNotFound for an unknown model; kInvalidArgument for a bad signature, a blob that the
  // store lacks, a file that is no usable model, or one whose input does not fit the columns; kFailedPrecondition when
  // `parity` was measured on another file; kAlreadyExists when a given number is taken. Event
  // models.version_registered.
  [[nodiscard]] Result<Version> add_version(const access::Actor& actor, const NewVersion& version);

  [[nodiscard]] Result<Version> version(sql::Tx& tx, std::string_view model, std::int64_t number);
  [[nodiscard]] Result<Version> version(std::string_view model, std::int64_t number);
  [[nodiscard]] Result<VersionDetail> detail(std::string_view model, std::int64_t number);
  // The versions of `model`, newest first; of all models when it is empty, most recently updated first. Those that
  // `keep` keeps.
  [[nodiscard]] Result<std::vector<Version>> list_versions(sql::Tx& tx, std::string_view model,
                                                           const std::function<bool(const Version&)>& keep = {});
  // Returns the number that `alias` points at. kNotFound.
  [[nodiscard]] Result<std::int64_t> resolve(sql::Tx& tx, std::string_view model, std::string_view alias);
  [[nodiscard]] Result<std::int64_t> resolve(std::string_view model, std::string_view alias);

  [[nodiscard]] Result<Version> describe_version(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                                 std::int64_t number, std::string_view description);
  [[nodiscard]] Result<void> tag_version(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                         std::int64_t number, std::string_view key,
                                         std::optional<std::string_view> value);
  [[nodiscard]] Result<Version> set_stage(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                          std::int64_t number, Stage stage, bool archive_others);
  // Removes it from view with its aliases; its number is never used again. kFailedPrecondition while approved. Event
  // models.version_deleted.
  [[nodiscard]] Result<void> delete_version(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                            std::int64_t number);

  // Points `alias` at the version, whatever it pointed at before. The alias champion goes to approved versions only
  // (kFailedPrecondition). Event models.alias_set with both numbers, none when nothing changes.
  [[nodiscard]] Result<void> set_alias(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                       std::string_view alias, std::int64_t number);
  // Deleting what is not there is no error. Event models.alias_deleted.
  [[nodiscard]] Result<void> delete_alias(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                          std::string_view alias);

  // --- states ---

  // Archives a version in any state, or takes an archived one back to candidate; every other move is
  // kFailedPrecondition: tested comes from the gate, approved and rejected from a decision. `reason` is mandatory.
  // Events models.archived, models.restored.
  [[nodiscard]] Result<Version> set_state(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                          std::int64_t number, State state, std::string_view reason);
  // Opens an approval of a tested version with its newest gate report as evidence; asking again answers the open one.
  // Event models.approval_requested.
  [[nodiscard]] Result<access::Approval> request_approval(sql::Tx& tx, const access::Actor& actor,
                                                          std::string_view model, std::int64_t number);
  // Decides a tested version. Needs the right to approve, and another person than the one who made the version or
  // asked. An open request is decided; where there is none, one is opened in the maker's name. `reason` is mandatory.
  // Events models.approved, models.rejected.
  [[nodiscard]] Result<Version> approve(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                        std::int64_t number, std::string_view reason);
  [[nodiscard]] Result<Version> reject(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                       std::int64_t number, std::string_view reason);
  // Approves a tested version under a policy that people approved; recorded as decided by "policy/<policy>". The caller
  // has checked that the policy stands. An approved version is answered as it is.
  [[nodiscard]] Result<Version> approve_by_policy(sql::Tx& tx, std::string_view policy, std::string_view model,
                                                  std::int64_t number, std::string_view reason);
  // Keeps a gate report with the version and moves a candidate that passed to tested. Events models.gate_passed,
  // models.gate_failed.
  [[nodiscard]] Result<void> add_gate_report(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                             std::int64_t number, const GateReport& report);

  // The same in a transaction of its own; returns the version as it is then.
  [[nodiscard]] Result<Version> add_gate_report(const access::Actor& actor, std::string_view model, std::int64_t number,
                                                const GateReport& report);

  // --- content ---

  // Returns a local, read-only copy of the ONNX file, verified by its hash when it was unpacked. kFailedPrecondition
  // when the version has none.
  [[nodiscard]] Result<std::filesystem::path> onnx_file(std::string_view model, std::int64_t number);
  // Returns the version ready to run; loaded once while anybody holds it. kUnavailable without a runtime.
  [[nodiscard]] Result<std::shared_ptr<const Scorer>> scorer(std::string_view model, std::int64_t number);
  // Keeps what training looked like, once: another baseline later is kFailedPrecondition. Event models.baseline_kept.
  [[nodiscard]] Result<void> set_baseline(const access::Actor& actor, std::string_view model, std::int64_t number,
                                          const statistics::Baseline& baseline);
  // Returns nothing when none was kept.
  [[nodiscard]] Result<std::optional<statistics::Baseline>> baseline(std::string_view model, std::int64_t number);

  [[nodiscard]] const Parts& parts() const { return parts_; }

 private:
  explicit Models(Parts parts) : parts_(std::move(parts)) {}

  [[nodiscard]] Result<void> emit(sql::Tx& tx, const access::Actor& actor, std::string_view kind, std::string subject,
                                  json::Object payload);
  [[nodiscard]] Result<Version> decide(sql::Tx& tx, const access::Actor& actor, const Version& asked, bool approve,
                                       std::string_view reason);
  [[nodiscard]] Result<Version> insert_version(sql::Tx& tx, const access::Actor& actor, const NewVersion& wanted,
                                               const store::Content& content);
  // A local copy of the blob, its hash checked.
  [[nodiscard]] Result<std::filesystem::path> unpacked(const std::string& blob);

  const Parts parts_;

  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<const Scorer>> scorers_;  // by digest of the version; guarded by mutex_
};

}  // namespace tidemill::models
