#include "api/http/route.h"

#include <gtest/gtest.h>

#include <string>

#include "api/http/openapi.h"
#include "api/http/router.h"

namespace tidemill::http {
namespace {

enum class Colour { red, green };
BOOST_DESCRIBE_ENUM(Colour, red, green)

struct Search {
  using json_defaults = void;
  std::int64_t limit = 100;
  double share = 0.5;
  bool deep = false;
  std::optional<std::string> name;
  std::vector<std::string> tags;
  std::optional<Colour> colour;
};
BOOST_DESCRIBE_STRUCT(Search, (), (limit, share, deep, name, tags, colour))

struct Thing {
  std::string name;
};
BOOST_DESCRIBE_STRUCT(Thing, (), (name))

static_assert(!std::is_default_constructible_v<Route>, "a route without its right must not compile");
static_assert(!std::is_constructible_v<Route, Method, std::string, std::string, std::function<void(Request&&, Done)>>);

Result<Search> search(std::string_view text) { return decode_query<Search>(Query::parse(text).value()); }

TEST(DecodeQuery, ReadsEachFieldByItsType) {
  const Search all = search("limit=7&share=0.25&deep=true&name=a%20b+c&tags=x&tags=y&colour=green").value();
  EXPECT_EQ(all.limit, 7);
  EXPECT_EQ(all.share, 0.25);
  EXPECT_TRUE(all.deep);
  EXPECT_EQ(all.name, "a b c");
  EXPECT_EQ(all.tags, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(all.colour, Colour::green);
  EXPECT_EQ(search("").value().limit, 100);
  EXPECT_EQ(search("name=").value().name, "");
}

TEST(DecodeQuery, RefusesWhatIsWrongByName) {
  EXPECT_EQ(search("limit=7x").error().details.at("field"), "limit");
  EXPECT_EQ(search("limit=99999999999999999999").error().reason, "http.bad_query");
  EXPECT_EQ(search("share=nan").error().reason, "http.bad_query");
  EXPECT_EQ(search("deep=yes").error().reason, "http.bad_query");
  EXPECT_EQ(search("limit=1&limit=2").error().reason, "http.repeated_query");
  EXPECT_NE(search("colour=blue").error().message.find("colour"), std::string::npos);
  EXPECT_NE(search("shade=blue").error().message.find("shade"), std::string::npos);
}

TEST(PercentDecode, IsStrict) {
  EXPECT_EQ(percent_decode("a%2Fb%E6%BD%AE").value(), "a/b潮");
  EXPECT_EQ(percent_decode("a+b").value(), "a+b");
  EXPECT_EQ(percent_decode("a+b", true).value(), "a b");
  for (const char* bad : {"%", "%4", "%zz", "%00", "%ff", "%c0%af", "%ed%a0%80"})
    EXPECT_FALSE(percent_decode(bad)) << bad;
}

Route route(Method method, std::string path, Right right = Right::read) {
  return raw(method, std::move(path), right, "x", Body::none, [](Request&&, const Done& done) { done(Response()); });
}

Router routed(std::vector<Route> routes) {
  Router router;
  EXPECT_TRUE(router.add(std::move(routes)));
  return router;
}

TEST(Router, FixedWinsOverParameterOverRest) {
  std::vector<Route> routes;
  for (const char* path :
       {"/api/runs/{id}", "/api/runs/latest", "/api/runs/{id}/log", "/api/files/{path...}", "/{path...}"}) {
    routes.push_back(route(Method::get, path));
  }
  const Router router = routed(std::move(routes));
  const auto at = [&](std::string_view path) { return router.match(Method::get, path).value().route->path; };
  EXPECT_EQ(at("/api/runs/latest"), "/api/runs/latest");
  EXPECT_EQ(at("/api/runs/7"), "/api/runs/{id}");
  EXPECT_EQ(at("/api/runs/latest/log"), "/api/runs/{id}/log");  // comes back from the dead end of the fixed one
  EXPECT_EQ(at("/api/files/a/b/c"), "/api/files/{path...}");
  EXPECT_EQ(at("/anything"), "/{path...}");
}

TEST(Router, DecodesParametersAndKeepsTheirSlashes) {
  std::vector<Route> routes;
  routes.push_back(route(Method::get, "/a/{x}/{y}"));
  routes.push_back(route(Method::get, "/f/{path...}"));
  const Router router = routed(std::move(routes));
  const auto both = router.match(Method::get, "/a/b%2Fc/%E6%BD%AE").value();
  EXPECT_EQ(both.params.at("x"), "b/c");
  EXPECT_EQ(both.params.at("y"), "潮");
  EXPECT_EQ(router.match(Method::get, "/f/a/../b").value().params.at("path"), "a/../b");  // path_beneath refuses it
  EXPECT_FALSE(router.match(Method::get, "/a/%zz/y"));
  EXPECT_EQ(router.match(Method::get, "/a//y").error().code, Code::kNotFound);
}

TEST(Router, SaysWhichMethodsAPathTakes) {
  std::vector<Route> routes;
  routes.push_back(route(Method::get, "/a"));
  routes.push_back(route(Method::post, "/a"));
  const Router router = routed(std::move(routes));
  EXPECT_TRUE(router.match(Method::head, "/a"));
  const auto error = router.match(Method::del, "/a").error();
  EXPECT_EQ(error.reason, "http.wrong_method");
  EXPECT_EQ(error.details.at("allow"), "GET, POST");
  EXPECT_EQ(router.match(Method::get, "/b").error().reason, "http.no_route");
}

TEST(Router, FallsBackForPagesButNotForTheApi) {
  std::vector<Route> routes;
  routes.push_back(route(Method::post, "/api/a"));
  Router router = routed(std::move(routes));
  router.fall_back(route(Method::get, "/{path...}", Right::open), {"/api/", "/v2/"});
  EXPECT_EQ(router.match(Method::get, "/").value().route, router.fallback());
  EXPECT_EQ(router.match(Method::head, "/models/m").value().route, router.fallback());
  EXPECT_EQ(router.match(Method::get, "/api/b").error().reason, "http.no_route");
  EXPECT_EQ(router.match(Method::get, "/v2/b").error().reason, "http.no_route");
  EXPECT_EQ(router.match(Method::get, "/api/a").error().reason, "http.wrong_method");
  EXPECT_EQ(router.match(Method::post, "/models/m").error().reason, "http.no_route");
}

TEST(Router, RefusesTheSameRouteTwice) {
  Router router;
  std::vector<Route> routes;
  routes.push_back(route(Method::get, "/a/{x}"));
  routes.push_back(route(Method::get, "/a/{y}"));
  EXPECT_EQ(router.add(std::move(routes)).error().reason, "http.route_twice");
}

TEST(OpenApi, HoldsEveryRouteWithItsRight) {
  std::vector<Route> routes;
  routes.push_back(get_query<Search, Thing>("/api/things", Right::read, "List",
                                            [](const Request&, const Search&) -> Result<Thing> { return Thing{}; }));
  routes.push_back(post<Thing, Thing>("/api/things", Right::write, "Make",
                                      [](const Request&, Thing t) -> Result<Thing> { return t; }, {.status = 201}));
  routes.push_back(route(Method::get, "/api/files/{path...}", Right::admin));
  routes.push_back(route(Method::get, "/health", Right::open));
  const Router router = routed(std::move(routes));
  const json::Value document = openapi(router, "1.2.3");
  EXPECT_EQ(document.at("openapi"), "3.1.0");
  std::size_t operations = 0;
  for (const auto& path : document.at("paths").as_object()) {
    for (const auto& operation : path.value().as_object()) {
      ++operations;
      EXPECT_TRUE(operation.value().as_object().contains("x-right")) << path.key();
      EXPECT_TRUE(operation.value().at("responses").as_object().contains("default")) << path.key();
    }
  }
  EXPECT_EQ(operations, router.routes().size());
  const auto& list = document.at("paths").at("/api/things").at("get");
  EXPECT_EQ(list.at("parameters").as_array().size(), 6u);
  EXPECT_EQ(list.at("parameters").at(0).at("in"), "query");
  const auto& make = document.at("paths").at("/api/things").at("post");
  EXPECT_TRUE(make.at("responses").as_object().contains("201"));
  EXPECT_TRUE(make.as_object().contains("requestBody"));
  EXPECT_EQ(document.at("paths").at("/api/files/{path}").at("get").at("parameters").at(0).at("name"), "path");
  EXPECT_TRUE(document.at("paths").at("/health").at("get").at("security").as_array().empty());
}

TEST(StatusOf, CoversEveryCode) {
  EXPECT_EQ(status_of({Code::kInvalidArgument, "", "", "", {}}), 400);
  EXPECT_EQ(status_of({Code::kUnauthenticated, "", "", "", {}}), 401);
  EXPECT_EQ(status_of({Code::kPermissionDenied, "", "", "", {}}), 403);
  EXPECT_EQ(status_of({Code::kNotFound, "", "", "", {}}), 404);
  EXPECT_EQ(status_of({Code::kConflict, "", "", "", {}}), 409);
  EXPECT_EQ(status_of({Code::kTooLarge, "", "", "", {}}), 413);
  EXPECT_EQ(status_of({Code::kExhausted, "jobs.full", "", "", {}}), 429);
  EXPECT_EQ(status_of({Code::kExhausted, "storage.disk_full", "", "", {}}), 507);
  EXPECT_EQ(status_of({Code::kUnavailable, "", "", "", {}}), 503);
  EXPECT_EQ(status_of({Code::kUnimplemented, "", "", "", {}}), 501);
  EXPECT_EQ(status_of({Code::kInternal, "", "", "", {}}), 500);
}

TEST(ResponseError, CarriesEverythingThatHelps) {
  const Response response = Response::error({Code::kExhausted, "a.full", "Full.", "Wait.", {{"k", "v"}}});
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(
      response.body,
      R"({"error":{"code":"exhausted","reason":"a.full","message":"Full.","remedy":"Wait.","details":{"k":"v"}}})");
  EXPECT_EQ(response.headers.at(0).first, "Retry-After");
}

}  // namespace
}  // namespace tidemill::http
