#include "storage/sql/writer.h"

#include <exception>
#include <optional>
#include <utility>

#include "base/log.h"

namespace tidemill::sql {
namespace {

constexpr Query kBegin{"sql.begin", "BEGIN IMMEDIATE"};
constexpr Query kCommit{"sql.commit", "COMMIT"};
constexpr Query kRollback{"sql.rollback", "ROLLBACK"};
constexpr Query kSavepoint{"sql.savepoint", "SAVEPOINT work"};
constexpr Query kRelease{"sql.release", "RELEASE work"};
constexpr Query kRollbackTo{"sql.rollback_to", "ROLLBACK TO work"};

Error stopped_error() {
  return {Code::kUnavailable, "storage.writes_stopped", "A sync to disk has failed, so no further write is accepted.",
          "Check the disk, then restart the server."};
}

}  // namespace

Writer::Writer(std::unique_ptr<Connection> connection, const Options& options)
    : options_(options), connection_(std::move(connection)), thread_([this] { loop(); }) {}

Writer::~Writer() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  ready_.notify_all();
  thread_.join();
}

void Writer::submit(Work work) {
  std::optional<Error> refusal;
  {
    const std::lock_guard lock(mutex_);
    if (!healthy_.load()) {
      refusal = stopped_error();
    } else if (closing_) {
      refusal = Error{Code::kUnavailable, "sql.closing", "The server is shutting down.", "Try again later."};
    } else if (waiting_.size() >= options_.waiting_max) {
      refusal = Error{Code::kExhausted, "sql.queue_full", "Too many writes are waiting.", "Try again in a second."};
    } else {
      waiting_.push_back(std::move(work));
    }
  }
  if (refusal) {
    work.done(std::unexpected(*std::move(refusal)));
  } else {
    ready_.notify_one();
  }
}

void Writer::loop() {
  std::vector<Work> group;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      while (!waiting_.empty() && group.size() < options_.group_max) {
        group.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
    }
    commit_group(group);
    group.clear();
  }
}

Result<void> Writer::run_one(Work& work, Tx& tx) {
  try {
    return work.function(tx);
  } catch (const std::exception& caught) {
    return fail(Code::kInternal, "sql.exception", std::string("A write was undone: ") + caught.what() + ".");
  }
}

void Writer::undo_all() {
  if (connection_->idle()) return;
  if (auto undone = connection_->script(kRollback.name, kRollback.text); !undone) {
    log::error("storage", "could not roll back", {{"cause", undone.error().text()}});
  }
}

void Writer::commit_group(std::vector<Work>& group) {
  std::vector<Result<void>> results(group.size());
  std::vector<std::function<void()>> callbacks;
  const auto commit = [&]() -> Result<void> {
    if (!healthy_.load()) return fail(stopped_error());
    TM_CHECK(connection_->script(kBegin.name, kBegin.text));
    for (std::size_t i = 0; i < group.size(); ++i) {
      Tx tx(*connection_, true);
      TM_CHECK(connection_->script(kSavepoint.name, kSavepoint.text));
      results[i] = run_one(group[i], tx);
      // On a full disk or an I/O error SQLite may have ended the whole transaction: then nobody's work is in it.
      if (connection_->idle()) return results[i] ? fail(connection_->error("sql.group")) : results[i];
      if (!results[i]) TM_CHECK(connection_->script(kRollbackTo.name, kRollbackTo.text));
      TM_CHECK(connection_->script(kRelease.name, kRelease.text));
      if (!results[i]) continue;
      for (auto& callback : tx.after_commit_) callbacks.push_back(std::move(callback));
    }
    auto committed = connection_->script(kCommit.name, kCommit.text);
    if (!committed && connection_->sync_failed()) {
      // The kernel may have thrown the unwritten pages away, so trying again could report success falsely.
      healthy_ = false;
      log::error("storage", "a sync failed; writes are refused until a restart", {{"cause", committed.error().text()}});
    }
    return committed;
  };
  if (auto committed = commit(); !committed) {
    undo_all();
    for (auto& result : results) {
      if (result) result = committed;
    }
    callbacks.clear();
  }
  for (auto& callback : callbacks) callback();
  for (std::size_t i = 0; i < group.size(); ++i) group[i].done(std::move(results[i]));
}

}  // namespace tidemill::sql
