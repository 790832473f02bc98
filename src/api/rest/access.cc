#include "api/rest/access.h"

#include <optional>
#include <string>

namespace tidemill::rest {
namespace {

struct PersonList {
  std::vector<access::Person> people;
};
BOOST_DESCRIBE_STRUCT(PersonList, (), (people))

// The first account of a server comes with a token: from its making on nobody can ask for one without.
struct AddedPerson : access::Person {
  std::optional<std::string> token;
};
BOOST_DESCRIBE_STRUCT(AddedPerson, (access::Person), (token))

struct TokenList {
  std::vector<access::Token> tokens;
};
BOOST_DESCRIBE_STRUCT(TokenList, (), (tokens))

struct ApprovalsQuery {
  std::optional<access::ApprovalState> state;
  std::optional<std::string> subject;
};
BOOST_DESCRIBE_STRUCT(ApprovalsQuery, (), (state, subject))

struct ApprovalList {
  std::vector<access::Approval> approvals;
};
BOOST_DESCRIBE_STRUCT(ApprovalList, (), (approvals))

struct Me {
  std::string name;
  std::vector<access::Role> roles;
};
BOOST_DESCRIBE_STRUCT(Me, (), (name, roles))

struct Nothing {
  using json_defaults = void;
};
BOOST_DESCRIBE_STRUCT(Nothing, (), ())

}  // namespace

std::vector<http::Route> access_routes(access::Access& access) {
  using access::Right;
  std::vector<http::Route> routes;
  routes.push_back(
      http::get<Me>("/api/me", Right::read, "Who is asking", [](const http::Request& request) -> Result<Me> {
        return Me{request.actor.name, request.actor.roles};
      }));
  routes.push_back(http::get<PersonList>(
      "/api/people", Right::read, "List accounts",
      [&access](const http::Request&) -> Result<PersonList> { return PersonList{TM_TRY(access.people())}; }));
  routes.push_back(http::post<access::NewPerson, AddedPerson>(
      "/api/people", Right::admin, "Make an account; the first comes with a token",
      [&access](const http::Request& request, const access::NewPerson& person) -> Result<AddedPerson> {
        const bool first = !access.has_accounts();
        AddedPerson added{TM_TRY(access.add_person(request.actor, person)), std::nullopt};
        if (first)
          added.token = TM_TRY(access.make_token({added.name, added.roles}, added.name, {"first token", {}})).token;
        return added;
      },
      {.status = 201}));
  routes.push_back(http::post<Nothing, access::Person>(
      "/api/people/{name}/disable", Right::admin, "Close an account and all its tokens",
      [&access](const http::Request& request, Nothing) {
        return access.disable_person(request.actor, request.param("name"));
      }));
  routes.push_back(http::get<TokenList>("/api/people/{name}/tokens", Right::read,
                                        "List the tokens of an account, without their secrets",
                                        [&access](const http::Request& request) -> Result<TokenList> {
                                          return TokenList{TM_TRY(access.tokens(request.actor, request.param("name")))};
                                        }));
  routes.push_back(http::post<access::NewToken, access::MadeToken>(
      "/api/people/{name}/tokens", Right::read, "Make a token; its secret is shown this once",
      [&access](const http::Request& request, const access::NewToken& token) {
        return access.make_token(request.actor, request.param("name"), token);
      },
      {.status = 201}));
  routes.push_back(http::del<void>(
      "/api/people/{name}/tokens/{prefix}", Right::read, "Revoke a token", [&access](const http::Request& request) {
        return access.revoke_token(request.actor, request.param("name"), request.param("prefix"));
      }));
  routes.push_back(http::get_query<ApprovalsQuery, ApprovalList>(
      "/api/approvals", Right::read, "List what a second person was asked",
      [&access](const http::Request&, const ApprovalsQuery& query) -> Result<ApprovalList> {
        return ApprovalList{TM_TRY(access.approvals(query.state, query.subject.value_or("")))};
      }));
  return routes;
}

}  // namespace tidemill::rest
