#include "cli/mlflow_ledger.h"

#include <fmt/format.h>

#include <chrono>

namespace tidemill::cli::mlflow {
namespace {

constexpr std::int64_t kToldEveryMs = 1'000;

}  // namespace

void Ledger::skip(const std::string& kind, const std::string& name, const std::string& why) {
  skipped_.push_back({kind, name, why});
}

void Ledger::differ(const std::string& kind, const std::string& name, const std::string& what) {
  different_.push_back({kind, name, what});
}

Result<void> Ledger::tolerate(const std::string& kind, const std::string& name, Result<void> result) {
  if (result || result.error().code == Code::kUnavailable || result.error().code == Code::kUnauthenticated ||
      result.error().code == Code::kPermissionDenied) {
    return result;
  }
  skip(kind, name, result.error().text());
  return {};
}

void Ledger::progress() {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  const auto now_ms = duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  if (now_ms - told_ms_ < kToldEveryMs) return;
  told_ms_ = now_ms;
  std::string line;
  for (const auto& [kind, count] : counts_) line += fmt::format("{}{} {}", line.empty() ? "" : ", ", count.read, kind);
  call_.note(line);
}

json::Array Ledger::remarks_json(const std::vector<Remark>& remarks) {
  json::Array array;
  for (const Remark& remark : remarks) {
    array.push_back(json::Object{{"kind", remark.kind}, {"name", remark.name}, {"why", remark.why}});
  }
  return array;
}

json::Object Ledger::report() const {
  json::Array counts;
  for (const auto& [kind, count] : counts_) {
    counts.push_back(json::Object{{"kind", kind},
                                  {"read", count.read},
                                  {"written", count.written},
                                  {"same", count.same},
                                  {"verified", count.verified}});
  }
  return {{"counts", counts}, {"skipped", remarks_json(skipped_)}, {"different", remarks_json(different_)}};
}

int Ledger::finish(const std::string& verb) const {
  const json::Value report(this->report());
  call_.table(report, "counts",
              {{"WHAT", "kind"}, {"READ", "read"}, {"WRITTEN", "written"}, {"SAME", "same"}, {"VERIFIED", "verified"}});
  for (const Remark& remark : skipped_) {
    call_.note(fmt::format("left out: {} {}: {}", remark.kind, remark.name, remark.why));
  }
  for (const Remark& remark : different_) {
    call_.note(fmt::format("DIFFERENT: {} {}: {}", remark.kind, remark.name, remark.why));
  }
  call_.note(different_.empty() ? fmt::format("{}: all that was written was read again and is equal.", verb)
                                : fmt::format("{}: {} things differ; see above.", verb, different_.size()));
  return different_.empty() ? kExitOk : kExitFailed;
}

}  // namespace tidemill::cli::mlflow
