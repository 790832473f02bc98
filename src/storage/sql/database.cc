#include "storage/sql/database.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <condition_variable>
#include <future>
#include <mutex>
#include <utility>

#include "base/hash.h"
#include "storage/sql/connection.h"
#include "storage/sql/offline.h"
#include "storage/sql/writer.h"

namespace tidemill::sql {
namespace {

constexpr std::string_view kStepMark = "-- step ";

constexpr Query kMakeSteps{
    "sql.make_steps",
    "CREATE TABLE IF NOT EXISTS schema_steps (room TEXT NOT NULL, step INTEGER NOT NULL, sha256 TEXT NOT NULL,"
    " PRIMARY KEY (room, step)) WITHOUT ROWID"};
constexpr Query kGetStep{"sql.get_step", "SELECT sha256 FROM schema_steps WHERE room = ?1 AND step = ?2"};
constexpr Query kAddStep{"sql.add_step", "INSERT INTO schema_steps (room, step, sha256) VALUES (?1, ?2, ?3)"};
constexpr Query kCountSteps{"sql.count_steps", "SELECT count(*) FROM schema_steps WHERE room = ?1"};

// Splits the text of a schema.sql at its lines `-- step N`; kInternal unless N runs 1, 2, 3 …
Result<std::vector<std::string>> split_steps(std::string_view room, std::string_view text) {
  std::vector<std::string> steps;
  bool in_step = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end);
    if (line.starts_with(kStepMark)) {
      std::size_t number = 0;
      const std::string_view digits = line.substr(kStepMark.size());
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
      if (number != steps.size() + 1) {
        return fail(Code::kInternal, "sql.steps_out_of_order",
                    fmt::format("The schema of {} has step {} where {} belongs.", room, number, steps.size() + 1));
      }
      steps.emplace_back();
      in_step = true;
    } else if (in_step) {
      steps.back() += line;
    }
  }
  return steps;
}

}  // namespace

class Database::Impl {
 public:
  Impl(std::filesystem::path file, Options options, std::unique_ptr<Connection> writer)
      : file_(std::move(file)), options_(options), writer_(std::move(writer), options) {}

  [[nodiscard]] Writer& writer() { return writer_; }

  // Lends a reading connection, waiting while all are in use.
  [[nodiscard]] Result<std::unique_ptr<Connection>> lend_reader() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [&] { return !idle_.empty() || open_ < options_.readers_max; });
    if (!idle_.empty()) {
      auto reader = std::move(idle_.back());
      idle_.pop_back();
      return reader;
    }
    ++open_;
    lock.unlock();
    auto reader = Connection::open(file_, false, std::max<std::int64_t>(options_.cache_kib / 4, 1024));
    if (!reader) give_back(nullptr);
    return reader;
  }

  void give_back(std::unique_ptr<Connection> reader) {
    {
      const std::lock_guard lock(mutex_);
      if (reader != nullptr) {
        idle_.push_back(std::move(reader));
      } else {
        --open_;
      }
    }
    returned_.notify_one();
  }

 private:
  const std::filesystem::path file_;
  const Options options_;
  Writer writer_;

  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> idle_;  // guarded by mutex_
  int open_ = 0;                                   // guarded by mutex_
};

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& file, Options options) {
  auto connection = TM_TRY(Connection::open(file, true, options.cache_kib));
  ::chmod(file.c_str(), 0600);  // the folder is 0700 already; this is for copies of the file
  TM_CHECK(connection->script(kMakeSteps.name, kMakeSteps.text));
  return std::unique_ptr<Database>(new Database(std::make_unique<Impl>(file, options, std::move(connection))));
}

Result<void> Database::migrate(std::string_view room, std::string_view text) {
  const std::vector<std::string> steps = TM_TRY(split_steps(room, text));
  return write([&](Tx& tx) -> Result<void> {
    const std::int64_t known = TM_TRY(tx.integer(kCountSteps, 0, room));
    if (known > static_cast<std::int64_t>(steps.size())) {
      return fail(
          Code::kFailedPrecondition, "sql.newer_schema",
          fmt::format("The data of {} was written by a newer version (step {} of {}).", room, known, steps.size()),
          "Start that version, or restore a backup made by this one.");
    }
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto number = static_cast<std::int64_t>(i + 1);
      const std::string hash = sha256_hex(steps[i]);
      const auto ran = TM_TRY(tx.one<std::string>(
          kGetStep, [](const Row& row) { return row.string(0); }, room, number));
      if (ran && *ran != hash) {
        return fail(Code::kFailedPrecondition, "sql.step_changed",
                    fmt::format("Step {} of the schema of {} is not the one that made this data.", number, room),
                    "Append a new step; never change one that has run.");
      }
      if (ran) continue;
      TM_CHECK(tx.connection_.script(kAddStep.name, steps[i]));
      TM_CHECK(tx.exec(kAddStep, room, number, hash));
    }
    return {};
  });
}

Result<void> Database::read_erased(const std::function<void(Tx&)>& function) {
  auto reader = TM_TRY(impl_->lend_reader());
  auto begun = reader->script("sql.begin_read", "BEGIN");
  if (begun) {
    Tx tx(*reader, false);
    try {
      function(tx);
    } catch (...) {
      // A read changes nothing, so ending it is all there is to undo.
      [[maybe_unused]] auto ended = reader->script("sql.end_read", "ROLLBACK");
      impl_->give_back(std::move(reader));
      throw;
    }
    begun = reader->script("sql.end_read", "COMMIT");
  }
  impl_->give_back(std::move(reader));
  return begun;
}

Result<void> Database::write_erased(std::function<Result<void>(Tx&)> function) {
  if (impl_->writer().on_this_thread()) {
    return fail(Code::kInternal, "sql.nested_write", "A write was started from within a write.",
                "Pass the Tx on instead.");
  }
  std::promise<Result<void>> promise;
  auto future = promise.get_future();
  impl_->writer().submit({std::move(function), [&](Result<void> result) { promise.set_value(std::move(result)); }});
  return future.get();
}

void Database::write_async(std::function<Result<void>(Tx&)> function, std::function<void(Result<void>)> done) {
  impl_->writer().submit({std::move(function), std::move(done)});
}

Result<void> Database::backup(const std::filesystem::path& file) {
  auto reader = TM_TRY(impl_->lend_reader());
  auto copied = copy_to(*reader, file);
  impl_->give_back(std::move(reader));
  return copied;
}

Result<void> Database::check() {
  return read([](Tx& tx) { return check_integrity(tx); });
}

bool Database::healthy() const { return impl_->writer().healthy(); }

}  // namespace tidemill::sql
