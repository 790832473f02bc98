// The room of people, tokens and approvals. See README.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "base/result.h"
#include "events/events.h"
#include "storage/sql/database.h"

namespace tidemill::access {

struct Options {
  using json_defaults = void;
  std::int64_t password_bytes_min = 10;
  std::int64_t failures_max = 10;  // wrong passwords or tokens of one name within a minute; then the name waits
  std::int64_t failure_window_ms = 60'000;
  std::int64_t cache_ms = 500;  // how long another process may still take a token that was revoked here
};
BOOST_DESCRIBE_STRUCT(Options, (), (password_bytes_min, failures_max, failure_window_ms, cache_ms))

// All functions may be called from any thread.
class Access {
 public:
  // Makes or updates its tables.
  [[nodiscard]] static Result<std::unique_ptr<Access>> create(sql::Database& database, events::Events& events,
                                                              const Clock& clock, Options options = {});

  // Returns whether anybody has an account. Without one, a loopback server lets everybody be `local`.
  [[nodiscard]] bool has_accounts() const { return has_accounts_.load(); }

  // Makes an account. The first must be an admin, since nobody else could make further ones (kFailedPrecondition).
  // kInvalidArgument for no role, a bad name or a short password; kAlreadyExists. Event people.added. Hashes the
  // password (Argon2id): tens of milliseconds.
  [[nodiscard]] Result<Person> add_person(const Actor& actor, const NewPerson& person);
  [[nodiscard]] Result<std::vector<Person>> people();
  // Closes an account and all its tokens at once. kFailedPrecondition for the last admin. Event people.disabled.
  [[nodiscard]] Result<Person> disable_person(const Actor& actor, std::string_view name);

  // Makes a token of 256 random bits for a person: their own, or anybody's for an admin. Only its SHA-256 is kept.
  // Event tokens.made.
  [[nodiscard]] Result<MadeToken> make_token(const Actor& actor, std::string_view person, const NewToken& token);
  [[nodiscard]] Result<std::vector<Token>> tokens(const Actor& actor, std::string_view person);
  // Event tokens.revoked. kNotFound when there is no such token.
  [[nodiscard]] Result<void> revoke_token(const Actor& actor, std::string_view person, std::string_view prefix);

  // A token that only this process knows, for a step that it starts: acts as `name` with role service until dropped.
  // Not written to disk.
  [[nodiscard]] std::string lend_token(std::string_view name);
  void drop_token(std::string_view token);

  // Returns who owns the bearer token; kUnauthenticated when it is unknown, expired, revoked or its owner disabled.
  // Microseconds.
  [[nodiscard]] Result<Actor> authenticate_bearer(std::string_view token);
  // The same for a token that was seen lately, without asking the database; nothing when it has to be asked.
  [[nodiscard]] std::optional<Actor> known_bearer(std::string_view token);
  // Returns who `name` is; the secret is their password or one of their tokens. kUnauthenticated, or kExhausted after
  // too many failures. Takes tens of milliseconds for a password that was not seen lately: never call it on an I/O
  // thread.
  [[nodiscard]] Result<Actor> authenticate_basic(std::string_view name, std::string_view secret);

  // Opens a question about `subject`; an open one of the same subject and kind is returned as it is. Event
  // approvals.requested.
  [[nodiscard]] Result<Approval> ask(sql::Tx& tx, const Actor& actor, std::string_view subject, std::string_view kind,
                                     json::Object evidence);
  // Answers it. Needs Right::approve; whoever asked, or is named in evidence["made_by"], is refused (kPermissionDenied,
  // "access.same_person"), as is an empty reason; kFailedPrecondition when it is decided already. Event
  // approvals.decided.
  [[nodiscard]] Result<Approval> decide(sql::Tx& tx, const Actor& actor, const ApprovalId& id, bool approve,
                                        std::string_view reason);
  [[nodiscard]] Result<Approval> approval(sql::Tx& tx, const ApprovalId& id);
  // Returns the open question about `subject` of this kind, or nothing.
  [[nodiscard]] Result<std::optional<Approval>> open_approval(sql::Tx& tx, std::string_view subject,
                                                              std::string_view kind);
  // Newest first; all states when `state` is empty, all subjects when `subject` is.
  [[nodiscard]] Result<std::vector<Approval>> approvals(std::optional<ApprovalState> state,
                                                        std::string_view subject = {});

 private:
  Access(sql::Database& database, events::Events& events, const Clock& clock, Options options)
      : database_(database), events_(events), clock_(clock), options_(options) {}

  struct Cached {
    Actor actor;
    std::int64_t until_ms = 0;
  };
  struct Failures {
    std::int64_t count = 0;
    std::int64_t since_ms = 0;
  };

  [[nodiscard]] std::optional<Actor> cached(const std::string& key);
  void remember(const std::string& key, const Actor& actor);
  void forget_all();
  [[nodiscard]] Result<void> check_failures(std::string_view name);
  void count_failure(std::string_view name);

  sql::Database& database_;
  events::Events& events_;
  const Clock& clock_;
  const Options options_;

  std::atomic<bool> has_accounts_ = false;

  std::mutex mutex_;
  std::unordered_map<std::string, Cached> cache_;       // by hash of the credential; guarded by mutex_
  std::unordered_map<std::string, Actor> lent_;         // by hash of the token; guarded by mutex_
  std::unordered_map<std::string, Failures> failures_;  // by name; guarded by mutex_
};

}  // namespace tidemill::access
