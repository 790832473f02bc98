#include "storage/tables/engine.h"

#include <fmt/format.h>

#include "base/files.h"
#include "base/text.h"

namespace tidemill::tables {

Engine::Engine(Options options) : options_(std::move(options)) {}

Engine::~Engine() {
  if (guard_.joinable()) {
    guard_.request_stop();
    watch_moved_.notify_all();
    guard_.join();
  }
}

Result<Session> Engine::session() {
  std::unique_lock lock(mutex_);
  left_.wait(lock, [&] { return inside_ < options_.queries_max; });
  if (!database_) TM_CHECK(load());
  ++inside_;
  Session session(*this, api_);  // leaves at its end, also when connecting fails
  if (api_->connect(database_->get(), session.connection_.out()) != DuckDBSuccess) {
    lock.unlock();
    return fail(Code::kInternal, "tables.no_connection", "DuckDB gave no connection.");
  }
  return session;
}

Result<void> Engine::load() {
  if (options_.library.empty()) {
    Result<std::shared_ptr<const Library>> library = std::unexpected(Error{});
    for (const auto& candidate : library_candidates()) {
      library = Library::open(candidate);
      if (library) break;
    }
    api_ = TM_TRY(std::move(library));
  } else {
    api_ = TM_TRY(Library::open(options_.library));
  }
  TM_CHECK(make_folder(options_.temporary));
  Owned<duckdb_database> database(api_->close);
  char* words = nullptr;
  if (api_->open_ext(nullptr, database.out(), nullptr, &words) != DuckDBSuccess) {
    Error error = duckdb_error("tables.open", words == nullptr ? "unknown reason" : words);
    if (words != nullptr) api_->free(words);
    return fail(std::move(error));
  }
  TM_CHECK(configure(database.get()));
  database_.emplace(std::move(database));
  guard_ = std::jthread([this](const std::stop_token& stop) { guard(stop); });
  loaded_ = true;
  return {};
}

// The order matters: folders are allowed before everything else is forbidden, and the lock comes last.
Result<void> Engine::configure(duckdb_database database) {
  std::string folders;
  for (const auto& folder : options_.folders) {
    const std::string path = (std::filesystem::absolute(folder) / "").string();
    folders += (folders.empty() ? "" : ", ") + TM_TRY(quote_literal(path));
  }
  const std::pair<const char*, std::string> settings[] = {
      {"temp_directory", TM_TRY(quote_literal(std::filesystem::absolute(options_.temporary).string()))},
      {"max_temp_directory_size", fmt::format("'{}MiB'", options_.temporary_mib)},
      {"memory_limit", fmt::format("'{}MiB'", options_.memory_mib)},
      {"threads", std::to_string(options_.threads)},
      {"preserve_insertion_order", "true"},
      {"TimeZone", "'UTC'"},
      {"autoinstall_known_extensions", "false"},
      {"autoload_known_extensions", "false"},
      {"allow_community_extensions", "false"},
      {"allowed_directories", "[" + folders + "]"},
      {"enable_external_access", "false"},
      {"lock_configuration", "true"},
  };
  Owned<duckdb_connection> connection(api_->disconnect);
  if (api_->connect(database, connection.out()) != DuckDBSuccess) {
    return fail(Code::kInternal, "tables.no_connection", "DuckDB gave no connection.");
  }
  for (const auto& [name, value] : settings) {
    // sql: settings cannot be bound
    const std::string text = fmt::format("SET GLOBAL {} = {}", name, value);
    Answer answer(*api_);
    if (api_->query(connection.get(), text.c_str(), answer.fill()) != DuckDBSuccess) {
      const char* words = api_->result_error(&answer.get());
      return fail(Code::kUnavailable, "tables.bad_setting",
                  fmt::format("DuckDB does not take {} = {}: {}", name, value, words == nullptr ? "" : words),
                  "Use the DuckDB 1.5 that tools/setup fetches.");
    }
  }
  return {};
}

void Engine::leave() {
  {
    const std::lock_guard lock(mutex_);
    --inside_;
  }
  left_.notify_one();
}

void Engine::watch(duckdb_connection connection) {
  const std::lock_guard lock(watch_mutex_);
  watched_[connection] = std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.query_ms_max);
  watch_moved_.notify_all();
}

void Engine::unwatch(duckdb_connection connection) {
  const std::lock_guard lock(watch_mutex_);
  watched_.erase(connection);
}

void Engine::guard(const std::stop_token& stop) {
  std::unique_lock lock(watch_mutex_);
  while (!stop.stop_requested()) {
    auto next = std::chrono::steady_clock::time_point::max();
    const auto now = std::chrono::steady_clock::now();
    for (auto& [connection, deadline] : watched_) {
      if (deadline <= now) {
        api_->interrupt(connection);
        deadline = now + std::chrono::milliseconds(100);  // again, should the query not have begun yet
      }
      next = std::min(next, deadline);
    }
    if (watched_.empty()) {
      watch_moved_.wait(lock, stop, [&] { return !watched_.empty(); });
    } else {
      watch_moved_.wait_until(lock, stop, next, [] { return false; });
    }
  }
}

Error duckdb_error(const std::string& query_name, std::string_view words) {
  struct Rule {
    std::string_view part;
    Code code;
    const char* reason;
    const char* remedy;
  };
  static constexpr Rule kRules[] = {
      {"Permission Error", Code::kPermissionDenied, "tables.not_allowed", "Name a file beneath the data folder."},
      {"No files found", Code::kNotFound, "tables.no_file", "Name a file that is there."},
      {"Cannot open file", Code::kNotFound, "tables.no_file", "Name a file that is there."},
      {"Out of Memory", Code::kExhausted, "tables.out_of_memory",
       "Read fewer rows or columns, or raise tables.memory_mib."},
      {"INTERRUPT", Code::kExhausted, "tables.out_of_time", "Read fewer rows, or raise tables.query_ms_max."},
      {"No space left", Code::kExhausted, "storage.disk_full", "Free space on that disk, then try again."},
      {"INTERNAL", Code::kInternal, "tables.internal", ""},
      {"FATAL", Code::kInternal, "tables.internal", ""},
  };
  // DuckDB shows the query beneath its words, and the whole path of files: neither is for those who sent the data.
  const std::string said = without_folders(words.substr(0, std::min<std::size_t>(words.find("\n\nLINE "), 2000)));
  for (const Rule& rule : kRules) {
    if (said.find(rule.part) != std::string::npos) {
      return Error{rule.code, rule.reason, fmt::format("Query {} failed: {}", query_name, said), rule.remedy};
    }
  }
  return Error{Code::kInvalidArgument, "tables.refused", fmt::format("Query {} failed: {}", query_name, said),
               "Correct the query or the file."};
}

}  // namespace tidemill::tables
