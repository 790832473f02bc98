#include "access/access.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <utility>

#include "access/schema.sql.h"
#include "base/hash.h"

namespace tidemill::access {
namespace {

constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kPrefixChars =
    11;  // "tm_" and eight digits: enough to tell tokens apart, useless to guess the rest
constexpr std::size_t kTokenBytesMax = 256;
constexpr std::size_t kFailuresKept = 10'000;
constexpr int kHashesMax = 4;                      // at once: each takes 64 MiB, and anybody can ask for one
constexpr std::int64_t kPasswordCacheMs = 30'000;  // a hash costs as much as thousands of requests

constexpr sql::Query kAddPerson{"people.add",
                                "INSERT INTO people (name, roles, password, made_ms) VALUES (?1, ?2, ?3, ?4)"};
constexpr sql::Query kPeople{"people.list", "SELECT name, roles, disabled, made_ms FROM people ORDER BY name"};
constexpr sql::Query kPerson{"people.get", "SELECT name, roles, disabled, made_ms FROM people WHERE name = ?1"};
constexpr sql::Query kPassword{"people.password", "SELECT password FROM people WHERE name = ?1 AND disabled = 0"};
constexpr sql::Query kCountPeople{"people.count", "SELECT count(*) FROM people"};
constexpr sql::Query kDisable{"people.disable", "UPDATE people SET disabled = 1 WHERE name = ?1"};
constexpr sql::Query kAddToken{
    "tokens.add",
    "INSERT INTO tokens (sha256, person, prefix, label, made_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"};
constexpr sql::Query kTokens{
    "tokens.list", "SELECT person, prefix, label, made_ms, expires_ms FROM tokens WHERE person = ?1 ORDER BY made_ms"};
constexpr sql::Query kRevoke{"tokens.revoke", "DELETE FROM tokens WHERE person = ?1 AND prefix = ?2"};
constexpr sql::Query kRevokeAll{"tokens.revoke_all", "DELETE FROM tokens WHERE person = ?1"};
constexpr sql::Query kOwner{
    "tokens.owner",
    "SELECT p.name, p.roles, p.disabled, p.made_ms, t.expires_ms FROM tokens t JOIN people p ON p.name = t.person"
    " WHERE t.sha256 = ?1 AND p.disabled = 0"};

std::string roles_text(const std::vector<Role>& roles) { return json::encode(roles); }

std::vector<Role> parse_roles(std::string_view text) {
  return json::decode<std::vector<Role>>(text).value_or(std::vector<Role>());
}

Person read_person(const sql::Row& row) {
  return {row.string(0), parse_roles(row.text(1)), row.boolean(2), row.integer(3)};
}

Token read_token(const sql::Row& row) {
  return {row.string(0), row.string(1), row.string(2), row.integer(3), row.maybe_integer(4)};
}

Error not_signed_in() {
  return {Code::kUnauthenticated,
          "access.unauthenticated",
          "The name, password or token is not right, or no longer valid.",
          "Sign in again, or ask an admin for a new token.",
          {}};
}

// Argon2id at libsodium's "interactive" cost: 64 MiB, two passes.
Result<std::string> hash_password(const std::string& password) {
  std::array<char, crypto_pwhash_STRBYTES> text{};
  if (crypto_pwhash_str(text.data(), password.data(), password.size(), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                        crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0) {
    return fail(Code::kUnavailable, "access.no_memory", "There was not enough memory to hash the password.",
                "Try again.");
  }
  return std::string(text.data());
}

bool password_fits(const std::string& hash, std::string_view password) {
  return crypto_pwhash_str_verify(hash.c_str(), password.data(), password.size()) == 0;
}

// One of kHashesMax turns at hashing; empty-handed when all are taken.
class HashingTurn {
 public:
  HashingTurn() : taken_(++hashing() <= kHashesMax) {}
  ~HashingTurn() { --hashing(); }
  HashingTurn(const HashingTurn&) = delete;
  HashingTurn& operator=(const HashingTurn&) = delete;
  [[nodiscard]] bool taken() const { return taken_; }

 private:
  static std::atomic<int>& hashing() {
    static std::atomic<int> count = 0;
    return count;
  }
  const bool taken_;
};

// Verified against when there is no such account, so that both answers take the same time.
const std::string& nobodys_hash() {
  static const std::string kHash = hash_password(to_hex(random_bytes(16))).value_or(std::string());
  return kHash;
}

Result<Person> get_person(sql::Tx& tx, std::string_view name) {
  auto person = TM_TRY(tx.one<Person>(kPerson, read_person, name));
  if (person) return *std::move(person);
  return fail(Code::kNotFound, "people.unknown", fmt::format("There is no account '{}'.", name.substr(0, 128)),
              "List the accounts with 'tidemill people list'.", {{"name", std::string(name.substr(0, 128))}});
}

bool is_admin(const Person& person) {
  return !person.disabled && std::ranges::find(person.roles, Role::admin) != person.roles.end();
}

}  // namespace

Result<std::unique_ptr<Access>> Access::create(sql::Database& database, events::Events& events, const Clock& clock,
                                               Options options) {
  if (sodium_init() < 0) return fail(Code::kInternal, "access.no_sodium", "libsodium could not be started.");
  TM_CHECK(database.migrate("access", kSchemaSql));
  std::unique_ptr<Access> access(new Access(database, events, clock, options));
  access->has_accounts_ = TM_TRY(database.read([](sql::Tx& tx) { return tx.integer(kCountPeople, 0); })) > 0;
  return access;
}

Result<Person> Access::add_person(const Actor& actor, const NewPerson& person) {
  TM_CHECK(check_name("person", person.name));
  if (person.roles.empty()) {
    return fail(Code::kInvalidArgument, "people.no_role", fmt::format("'{}' has no role.", person.name),
                "Give one or more of viewer, modeller, approver, admin, service.");
  }
  for (const char* reserved : {"system", "local", "visitor"}) {
    if (person.name == reserved) {
      return fail(Code::kInvalidArgument, "people.reserved", fmt::format("'{}' is the engine's own name.", person.name),
                  "Choose another name.");
    }
  }
  std::optional<std::string> password;
  if (person.password) {
    if (static_cast<std::int64_t>(person.password->size()) < options_.password_bytes_min ||
        person.password->size() > 1024) {
      return fail(Code::kInvalidArgument, "people.bad_password",
                  fmt::format("A password has {} to 1024 bytes.", options_.password_bytes_min), "Choose another one.");
    }
    password = TM_TRY(hash_password(*person.password));
  }
  auto added = TM_TRY(database_.write([&](sql::Tx& tx) -> Result<Person> {
    const bool first = TM_TRY(tx.integer(kCountPeople, 0)) == 0;
    if (first && std::ranges::find(person.roles, Role::admin) == person.roles.end()) {
      return fail(Code::kFailedPrecondition, "people.first_is_admin", "The first account must have the role admin.",
                  "Add an admin first; only an admin can add others.");
    }
    auto inserted = tx.exec(kAddPerson, person.name, roles_text(person.roles), password, clock_.now_ms());
    if (!inserted && inserted.error().code == Code::kAlreadyExists) {
      return fail(Code::kAlreadyExists, "people.taken", fmt::format("There is an account '{}' already.", person.name),
                  "Choose another name.");
    }
    TM_CHECK(inserted);
    TM_CHECK(events_.append(tx, {"people.added", "people/" + person.name, actor.name,
                                 json::Object{{"roles", json::to_json(person.roles)}}}));
    return get_person(tx, person.name);
  }));
  has_accounts_ = true;
  return added;
}

Result<std::vector<Person>> Access::people() {
  return database_.read([](sql::Tx& tx) { return tx.all<Person>(kPeople, read_person); });
}

Result<Person> Access::disable_person(const Actor& actor, std::string_view name) {
  auto disabled = database_.write([&](sql::Tx& tx) -> Result<Person> {
    const Person person = TM_TRY(get_person(tx, name));
    const auto everybody = TM_TRY(tx.all<Person>(kPeople, read_person));
    if (is_admin(person) && std::ranges::count_if(everybody, is_admin) == 1) {
      return fail(Code::kFailedPrecondition, "people.last_admin", fmt::format("'{}' is the last admin.", name),
                  "Make another admin first.");
    }
    TM_CHECK(tx.exec(kDisable, name));
    TM_CHECK(tx.exec(kRevokeAll, name));
    TM_CHECK(events_.append(tx, {"people.disabled", "people/" + std::string(name), actor.name, {}}));
    return get_person(tx, name);
  });
  forget_all();
  return disabled;
}

Result<MadeToken> Access::make_token(const Actor& actor, std::string_view person, const NewToken& token) {
  if (actor.name != person && !actor.has(Right::admin)) {
    return fail(Code::kPermissionDenied, "tokens.not_yours",
                fmt::format("'{}' may not make tokens for '{}'.", actor.name, person),
                "Make one for yourself, or ask an admin.");
  }
  if (token.label.size() > 200) {
    return fail(Code::kInvalidArgument, "tokens.long_label", "The label has more than 200 bytes.", "Shorten it.");
  }
  const std::string secret = "tm_" + to_hex(random_bytes(kSecretBytes));
  const std::string prefix = secret.substr(0, kPrefixChars);
  TM_CHECK(database_.write([&](sql::Tx& tx) -> Result<void> {
    const Person owner = TM_TRY(get_person(tx, person));
    if (owner.disabled) {
      return fail(Code::kFailedPrecondition, "people.closed", fmt::format("The account '{}' is closed.", person),
                  "Use another one.");
    }
    TM_CHECK(tx.exec(kAddToken, sha256_hex(secret), person, prefix, token.label, clock_.now_ms(), token.expires_ms));
    TM_CHECK(events_.append(tx, {"tokens.made", "people/" + std::string(person), actor.name,
                                 json::Object{{"prefix", prefix}, {"label", token.label}}}));
    return {};
  }));
  return MadeToken{secret, prefix};
}

Result<std::vector<Token>> Access::tokens(const Actor& actor, std::string_view person) {
  if (actor.name != person && !actor.has(Right::admin)) {
    return fail(Code::kPermissionDenied, "tokens.not_yours",
                fmt::format("'{}' may not see the tokens of '{}'.", actor.name, person), "Ask an admin.");
  }
  return database_.read([&](sql::Tx& tx) { return tx.all<Token>(kTokens, read_token, person); });
}

Result<void> Access::revoke_token(const Actor& actor, std::string_view person, std::string_view prefix) {
  if (actor.name != person && !actor.has(Right::admin)) {
    return fail(Code::kPermissionDenied, "tokens.not_yours",
                fmt::format("'{}' may not revoke tokens of '{}'.", actor.name, person), "Ask an admin.");
  }
  auto revoked = database_.write([&](sql::Tx& tx) -> Result<void> {
    if (TM_TRY(tx.exec(kRevoke, person, prefix)) == 0) {
      return fail(Code::kNotFound, "tokens.unknown", fmt::format("'{}' has no token '{}'.", person, prefix),
                  "List the tokens.");
    }
    TM_CHECK(events_.append(tx, {"tokens.revoked", "people/" + std::string(person), actor.name,
                                 json::Object{{"prefix", std::string(prefix)}}}));
    return {};
  });
  forget_all();
  return revoked;
}

std::string Access::lend_token(std::string_view name) {
  std::string secret = "tm_" + to_hex(random_bytes(kSecretBytes));
  const std::lock_guard lock(mutex_);
  lent_[sha256_hex(secret)] = Actor{std::string(name), {Role::service}};
  return secret;
}

void Access::drop_token(std::string_view token) {
  const std::lock_guard lock(mutex_);
  lent_.erase(sha256_hex(token));
}

std::optional<Actor> Access::known_bearer(std::string_view token) {
  if (token.empty() || token.size() > kTokenBytesMax) return std::nullopt;
  const std::string key = sha256_hex(token);
  const std::lock_guard lock(mutex_);
  if (const auto lent = lent_.find(key); lent != lent_.end()) return lent->second;
  const auto found = cache_.find(key);
  if (found == cache_.end() || found->second.until_ms <= clock_.steady_ms()) return std::nullopt;
  return found->second.actor;
}

Result<Actor> Access::authenticate_bearer(std::string_view token) {
  if (token.empty() || token.size() > kTokenBytesMax) return fail(not_signed_in());
  if (auto actor = known_bearer(token)) return *std::move(actor);
  const std::string key = sha256_hex(token);
  struct Owner {
    Person person;
    std::optional<std::int64_t> expires_ms;
  };
  const auto owner = TM_TRY(database_.read([&](sql::Tx& tx) {
    return tx.one<Owner>(
        kOwner,
        [](const sql::Row& row) {
          return Owner{read_person(row), row.maybe_integer(4)};
        },
        key);
  }));
  if (!owner || (owner->expires_ms && *owner->expires_ms <= clock_.now_ms())) return fail(not_signed_in());
  const Actor actor{owner->person.name, owner->person.roles};
  remember(key, actor);
  return actor;
}

Result<Actor> Access::authenticate_basic(std::string_view name, std::string_view secret) {
  if (secret.starts_with("tm_")) {
    auto actor = authenticate_bearer(secret);
    if (actor && actor->name == name) return actor;
    return fail(not_signed_in());
  }
  const std::string key = sha256_hex(fmt::format("{}:{}:{}", name.size(), name, secret));
  if (auto actor = cached(key)) return *std::move(actor);
  TM_CHECK(check_failures(name));
  const auto found = TM_TRY(database_.read([&](sql::Tx& tx) {
    return tx.one<std::string>(
        kPassword, [](const sql::Row& row) { return row.string(0); }, name);
  }));
  const bool known = found && !found->empty();
  const HashingTurn turn;
  if (!turn.taken()) {
    return fail(Code::kExhausted, "access.busy", "Too many people sign in with a password at this moment.",
                "Try again in a second, or use a token.");
  }
  const bool fits = password_fits(known ? *found : nobodys_hash(), secret);
  if (!known || !fits) {
    count_failure(name);
    return fail(not_signed_in());
  }
  const Person person = TM_TRY(database_.read([&](sql::Tx& tx) { return get_person(tx, name); }));
  const Actor actor{person.name, person.roles};
  {
    const std::lock_guard lock(mutex_);
    if (cache_.size() > kFailuresKept) cache_.clear();
    cache_[key] = {actor, clock_.steady_ms() + std::max(options_.cache_ms, kPasswordCacheMs)};
  }
  // Closed while the hash was computed: then forget_all() may have run before the entry was there.
  if (!TM_TRY(database_.read([&](sql::Tx& tx) { return get_person(tx, name); })).disabled) return actor;
  forget_all();
  return fail(not_signed_in());
}

std::optional<Actor> Access::cached(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = cache_.find(key);
  if (found == cache_.end() || found->second.until_ms <= clock_.steady_ms()) return std::nullopt;
  return found->second.actor;
}

void Access::remember(const std::string& key, const Actor& actor) {
  const std::lock_guard lock(mutex_);
  if (cache_.size() > kFailuresKept) cache_.clear();
  cache_[key] = {actor, clock_.steady_ms() + options_.cache_ms};
}

void Access::forget_all() {
  const std::lock_guard lock(mutex_);
  cache_.clear();
}

Result<void> Access::check_failures(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find(std::string(name));
  if (found == failures_.end()) return {};
  if (clock_.steady_ms() - found->second.since_ms >= options_.failure_window_ms) {
    failures_.erase(found);
    return {};
  }
  if (found->second.count < options_.failures_max) return {};
  return fail(Code::kExhausted, "access.too_many_failures", "Too many wrong passwords for this name.",
              "Wait a minute, then try again.");
}

void Access::count_failure(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (failures_.size() > kFailuresKept) failures_.clear();
  Failures& failures = failures_[std::string(name)];
  if (failures.count++ == 0) failures.since_ms = clock_.steady_ms();
}

}  // namespace tidemill::access
