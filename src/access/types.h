// Who acts, and what they may do.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/enums.h"
#include "base/ids.h"
#include "base/json.h"

namespace tidemill::access {

// Roles add up. Nobody is both maker and approver of one thing, whatever their roles (see Access::decide).
enum class Role { viewer, modeller, approver, admin, service };
BOOST_DESCRIBE_ENUM(Role, viewer, modeller, approver, admin, service)

// What a route asks for. `open` needs nobody; the others need a role that grants them.
enum class Right { open, read, write, predict, approve, admin };
BOOST_DESCRIBE_ENUM(Right, open, read, write, predict, approve, admin)

// Returns whether the role grants the right: viewer read; modeller read, write, predict; approver read, predict,
// approve; service read, write, predict; admin all.
[[nodiscard]] bool grants(Role role, Right right);

// The person or service on whose behalf something happens.
struct Actor {
  std::string name;
  std::vector<Role> roles;

  [[nodiscard]] bool has(Right right) const;
};

// The engine itself: may do everything but approve.
[[nodiscard]] Actor system_actor();
// Whoever sits at this machine while there are no accounts: may do everything, but approve only what somebody else
// made.
[[nodiscard]] Actor local_actor();
// Whoever looks from this machine without signing in, where the server allows it: may read.
[[nodiscard]] Actor visitor_actor();

struct Person {
  std::string name;
  std::vector<Role> roles;
  bool disabled = false;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Person, (), (name, roles, disabled, made_ms))

struct NewPerson {
  std::string name;
  std::vector<Role> roles;
  std::optional<std::string> password;
};
BOOST_DESCRIBE_STRUCT(NewPerson, (), (name, roles, password))

struct NewToken {
  using json_defaults = void;
  std::string label;
  std::optional<std::int64_t> expires_ms;
};
BOOST_DESCRIBE_STRUCT(NewToken, (), (label, expires_ms))

// A token as it is listed; the secret itself is shown once, when it is made.
struct Token {
  std::string person;
  std::string prefix;
  std::string label;
  std::int64_t made_ms = 0;
  std::optional<std::int64_t> expires_ms;
};
BOOST_DESCRIBE_STRUCT(Token, (), (person, prefix, label, made_ms, expires_ms))

struct MadeToken {
  std::string token;
  std::string prefix;
};
BOOST_DESCRIBE_STRUCT(MadeToken, (), (token, prefix))

struct ApprovalTag {
  static constexpr const char* kNoun = "approvals";
};
using ApprovalId = Id<ApprovalTag>;

enum class ApprovalState { pending, approved, rejected, withdrawn };
BOOST_DESCRIBE_ENUM(ApprovalState, pending, approved, rejected, withdrawn)

// One question to a second person: may `subject` do what `kind` says? `evidence` is what they look at; its "made_by"
// names the maker, who may not decide either.
struct Approval {
  ApprovalId id;
  std::string subject;
  std::string kind;
  std::string asked_by;
  ApprovalState state = ApprovalState::pending;
  std::string decided_by;
  std::string reason;
  json::Object evidence;
  std::int64_t asked_ms = 0;
  std::optional<std::int64_t> decided_ms;
};
BOOST_DESCRIBE_STRUCT(Approval, (),
                      (id, subject, kind, asked_by, state, decided_by, reason, evidence, asked_ms, decided_ms))

}  // namespace tidemill::access
