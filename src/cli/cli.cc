#include "cli/cli.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

constexpr const char* kDefaultUrl = "http://127.0.0.1:7070";

constexpr const char* kAbout =
    "Tidemill: the machine-learning life cycle in one binary.\n"
    "\n"
    "  tidemill server --data DIR            start the platform on this machine\n"
    "  tidemill backup --data DIR FILE.tar   copy all that it holds; also restore, check\n"
    "  tidemill datasets add NAME FILE.csv   add a version of a dataset\n"
    "  tidemill pipelines run NAME --wait    train, test and register a model\n"
    "  tidemill models approve NAME 1 --reason \"reviewed\"\n"
    "  tidemill deployments create NAME --model NAME --version 1\n";

const std::map<std::string, std::string> kNouns{
    {"approvals", "What waits for a second person, and what was decided"},
    {"datasets", "Versioned data: rules, profiles, differences"},
    {"deployments", "Endpoints: releases, canaries, rollbacks"},
    {"events", "The audit log and its proof"},
    {"export", "Write what is here in the form of other tools"},
    {"features", "Feature views, for training and online"},
    {"import", "Take over what other tools keep"},
    {"models", "Registered models, versions, approvals"},
    {"monitors", "Drift and quality of what is deployed"},
    {"people", "Accounts and tokens"},
    {"pipelines", "Definitions and their runs"},
    {"predictions", "What endpoints answered, and the labels that came later"},
    {"requirements", "What a model must reach, checked from gate to alert"},
    {"runs", "Experiments: parameters, metrics, artefacts"},
    {"traces", "What applications did, span by span"},
    {"triggers", "What starts a pipeline by itself"},
    {"webhooks", "Who is told of events, and how it went"},
};

std::vector<Verb> all_verbs() {
  std::vector<Verb> verbs;
  for (auto make : {access_verbs, datasets_verbs, deployments_verbs, events_verbs, features_verbs, imports_verbs,
                    models_verbs, monitors_verbs, pipelines_verbs, predictions_verbs, requirements_verbs, runs_verbs,
                    traces_verbs, triggers_verbs, webhooks_verbs}) {
    for (auto& verb : make()) verbs.push_back(std::move(verb));
  }
  return verbs;
}

struct Globals {
  std::string server;
  bool as_json = false;
};

// What CLI11 fills in while it parses one verb.
struct Bound {
  const Verb* verb = nullptr;
  CLI::App* app = nullptr;
  std::map<std::string, std::vector<std::string>> values;
  std::map<std::string, bool> flags;
};

void add_parameter(Bound& bound, const Parameter& parameter) {
  if (parameter.name.ends_with('!')) {
    const std::string name = parameter.name.substr(0, parameter.name.size() - 1);
    bound.app->add_flag(name, bound.flags[name], parameter.help);
    return;
  }
  CLI::Option* option = bound.app->add_option(parameter.name, bound.values[parameter.name], parameter.help);
  if (!parameter.repeated) option->expected(1)->allow_extra_args(false);  // else the first place takes all words
  if (parameter.repeated && parameter.name.starts_with("--")) option->expected(1)->take_all()->allow_extra_args(false);
  option->required(parameter.required);
}

std::map<std::string, std::vector<std::string>> given_values(const Bound& bound) {
  std::map<std::string, std::vector<std::string>> values;
  for (const auto& [name, list] : bound.values) {
    if (!list.empty()) values[name] = list;
  }
  for (const auto& [name, on] : bound.flags) {
    if (on) values[name] = {"true"};
  }
  return values;
}

void print_error(const Error& error, bool as_json) {
  if (as_json) {
    json::Object details;
    for (const auto& [key, value] : error.details) details[key] = value;
    const json::Object object{{"code", code_name(error.code)},
                              {"reason", error.reason},
                              {"message", error.message},
                              {"remedy", error.remedy},
                              {"details", details}};
    fmt::print(stderr, "{}\n", json::serialize(json::Object{{"error", object}}));
    return;
  }
  fmt::print(stderr, "tidemill: {}\n", error.message);
  if (!error.remedy.empty()) fmt::print(stderr, "          {}\n", error.remedy);
}

std::string environment(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : value;
}

int run_verb(const Bound& bound, const Globals& globals) {
  Client client(globals.server, environment("TIDEMILL_TOKEN", ""));
  Call call(client, globals.as_json, given_values(bound));
  const auto result = bound.verb->run(call);
  if (result) return *result;
  print_error(result.error(), globals.as_json);
  return exit_code(result.error());
}

std::string footer(const Verb& verb) {
  std::string text = "Examples:\n";
  for (const auto& example : verb.examples) text += "  " + example + "\n";
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  // A closed pipe (`tidemill … | head`) ends the write with an error, not the process with a signal.
  std::signal(SIGPIPE, SIG_IGN);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::vector<Verb> verbs = all_verbs();
  Globals globals;
  globals.server = environment("TIDEMILL_URL", kDefaultUrl);

  CLI::App app(kAbout, "tidemill");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--server", globals.server, "URL of the server (or TIDEMILL_URL)");
  app.add_flag("--json", globals.as_json, "Print JSON for programs");
  app.footer("The token is read from TIDEMILL_TOKEN. 'tidemill NOUN --help' lists the verbs of a noun.");

  std::map<std::string, CLI::App*> nouns;
  std::vector<std::unique_ptr<Bound>> bounds;
  for (const auto& [noun, help] : kNouns) {
    nouns[noun] = app.add_subcommand(noun, help);
    nouns[noun]->require_subcommand(1);
    nouns[noun]->fallthrough();
  }
  for (const auto& verb : verbs) {
    auto bound = std::make_unique<Bound>();
    bound->verb = &verb;
    bound->app = nouns.at(verb.noun)->add_subcommand(verb.name, verb.help);
    bound->app->fallthrough();
    bound->app->footer(footer(verb));
    for (const auto& parameter : verb.parameters) add_parameter(*bound, parameter);
    bounds.push_back(std::move(bound));
  }
  app.add_subcommand("server", "Start the platform: 'tidemill server --help'");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kExitOk : kExitUsage;
  }
  for (const auto& bound : bounds) {
    if (bound->app->parsed()) return run_verb(*bound, globals);
  }
  return kExitUsage;
}

}  // namespace tidemill::cli
