// The whole room on temporary storage, for its tests and those of rooms below: real SQLite, blobs, DuckDB and ONNX
// Runtime.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "flow/models/models.h"
#include "runtimes/test_models.h"

namespace tidemill::models::test {

inline const access::Actor kMaker{"maria", {access::Role::modeller}};
inline const access::Actor kApprover{"anton", {access::Role::approver}};

// A version as clients see it: two numbers and a category, weights given per case.
inline Signature flights_signature() {
  return {
      {{"hour", ColumnKind::number, {}, Missing::nan}, {"carrier", ColumnKind::category, {"AA", "UA"}, Missing::code}},
      "late"};
}

// Needs TIDEMILL_ORT_LIBRARY and TIDEMILL_DUCKDB_LIBRARY, and a main() that handles the verbs of shim and probe.
class ModelsFixture : public ::testing::Test {
 protected:
  const TemporaryFolder folder_ = TemporaryFolder::create().value();
  FakeClock clock_;
  const std::unique_ptr<sql::Database> database_ = sql::Database::open(folder_.path() / "db").value();
  const std::unique_ptr<events::Events> events_ = events::Events::create(*database_, clock_).value();
  const std::unique_ptr<access::Access> access_ = access::Access::create(*database_, *events_, clock_).value();
  const std::unique_ptr<requirements::Requirements> requirements_ =
      requirements::Requirements::create(*database_, *events_, clock_).value();
  const std::unique_ptr<blobs::Store> blobs_ = blobs::LocalStore::create(folder_.path() / "blobs").value();
  const std::unique_ptr<tables::Tables> tables_ =
      tables::Tables::create(
          {.library = TIDEMILL_DUCKDB_LIBRARY, .folders = {folder_.path()}, .temporary = folder_.path() / "tmp"})
          .value();
  const std::shared_ptr<runtimes::Runtime> runtime_ = runtimes::Runtime::create(TIDEMILL_ORT_LIBRARY).value();
  const jobs::Executor executor_;
  const runtimes::Prober prober_{executor_, TIDEMILL_ORT_LIBRARY};
  const std::unique_ptr<Models> models_ =
      Models::create({*database_, *events_, *access_, *requirements_, *blobs_, *tables_, clock_, runtime_, prober_,
                      folder_.path() / "cache"})
          .value();

  // Runs `function(Tx&)` in a transaction of its own.
  template <class F>
  auto write(F&& function) {
    return database_->write(std::forward<F>(function));
  }

  Result<Model> add_model(std::string_view name) {
    return write([&](sql::Tx& tx) { return models_->add_model(tx, kMaker, name, ""); });
  }

  FileRef put(std::string_view content) {
    const auto stored = blobs_->put_bytes(content).value();
    return {stored.id.str(), stored.bytes};
  }

  // A logistic model over (hour, carrier).
  NewVersion flights_version(const std::vector<float>& weights = {0.5F, 1.0F}, float bias = -5) {
    NewVersion version;
    version.model = "flight-delay";
    version.files["model.onnx"] = put(runtimes::test::logistic(weights, bias));
    version.onnx = "model.onnx";
    version.signature = flights_signature();
    Parity parity;
    parity.onnx = version.files["model.onnx"].blob;
    version.parity = parity;
    return version;
  }

  // Registers a version and marks it tested, as a passed gate does.
  Version tested_version(const NewVersion& wanted) {
    const Version added = models_->add_version(kMaker, wanted).value();
    GateReport report;
    report.passed = true;
    report.reason = "for a test";
    return models_->add_gate_report(kMaker, added.model, added.number, report).value();
  }

  std::vector<std::string> event_kinds() {
    std::vector<std::string> kinds;
    const auto events = events_->read({.limit = events::kReadMax}).value();
    for (const auto& event : events) kinds.push_back(event.kind);
    return kinds;
  }
  events::Event last_event() { return events_->read({.limit = 1, .newest_first = true}).value().at(0); }
};

}  // namespace tidemill::models::test
