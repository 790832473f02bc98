// What an import or export counts: how many things of a kind were read, written, were there already, were compared
// afterwards, and what was left out and why.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cli/command.h"

namespace tidemill::cli::mlflow {

struct Count {
  std::int64_t read = 0;
  std::int64_t written = 0;
  std::int64_t same = 0;      // there already
  std::int64_t verified = 0;  // read again and found equal
};

class Ledger {
 public:
  explicit Ledger(const Call& call) : call_(call) {}

  [[nodiscard]] Count& operator[](const std::string& kind) { return counts_[kind]; }
  // Notes what was left out.
  void skip(const std::string& kind, const std::string& name, const std::string& why);
  // Notes what is not equal on both sides.
  void differ(const std::string& kind, const std::string& name, const std::string& what);
  // Returns `result` unless the server is gone: then nothing else can work. Other errors are noted as left out.
  [[nodiscard]] Result<void> tolerate(const std::string& kind, const std::string& name, Result<void> result);
  // Says how far it is on standard error, at most once a second.
  void progress();

  [[nodiscard]] json::Object report() const;
  // Prints the report and returns the exit code: kExitFailed when something differs.
  [[nodiscard]] int finish(const std::string& verb) const;

 private:
  struct Remark {
    std::string kind;
    std::string name;
    std::string why;
  };
  [[nodiscard]] static json::Array remarks_json(const std::vector<Remark>& remarks);

  const Call& call_;
  std::map<std::string, Count> counts_;
  std::vector<Remark> skipped_;
  std::vector<Remark> different_;
  std::int64_t told_ms_ = 0;
};

}  // namespace tidemill::cli::mlflow
