#include "flow/pipelines/definition.h"

#include <gtest/gtest.h>

#include <chrono>

namespace tidemill::pipelines {
namespace {

const std::set<std::string> kBuiltins{"models.gate", "models.register"};

Result<Plan> parse(std::string_view yaml) { return parse_definition(yaml, kBuiltins); }

std::string steps(std::string_view body) { return "name: p\nparams: {x: 1}\nsteps:\n" + std::string(body); }

// What is wrong with these steps.
Error fault(std::string_view body) {
  auto plan = parse(steps(body));
  return plan ? Error{Code::kInternal, "accepted", "accepted", ""} : plan.error();
}

TEST(Definition, ReadsAWholePipeline) {
  const auto plan = parse(R"(
name: flights
description: trains
params: {start: 2013-01-01, end: null, trees: 100}
steps:
  - name: load
    run: [python, code/load.py, --from, "${params.start}", -n, 3]
    outputs: [train.parquet]
    timeout: 10m
    retries: 2
  - name: train
    run: [python, code/train.py]
    inputs: {data: load/train.parquet}
    outputs: [model.onnx]
    memory_mib: 512
    cache: true
    env: {TREES: "${params.trees}"}
  - name: gate
    uses: models.gate
    with: {model: "${run.pipeline}", auc: "${steps.train.result.auc}"}
  - name: register
    uses: models.register
    needs: [load]
    when: "${steps.gate.result.passed}"
)");
  ASSERT_TRUE(plan) << plan.error().text();
  EXPECT_EQ(plan->needs, (std::vector<std::vector<std::size_t>>{{}, {0}, {1}, {0, 2}}));
  EXPECT_EQ(plan->timeout_ms[0], 600'000);
  EXPECT_EQ(plan->definition.steps[0].retries, 2);
  EXPECT_TRUE(plan->definition.steps[1].cache);
}

TEST(Definition, SpellsACircle) {
  const Error error = fault(
      "  - {name: c, run: [x], needs: [a]}\n"
      "  - {name: a, run: [x], needs: [b]}\n"
      "  - {name: b, run: [x, '${steps.a.result.k}']}\n");
  EXPECT_EQ(error.reason, "pipelines.cycle");
  EXPECT_NE(error.message.find("a → b → a"), std::string::npos) << error.message;
  EXPECT_EQ(error.message.find('c', error.message.find(':')), std::string::npos)
      << "c is not part of it: " << error.message;
  EXPECT_NE(fault("  - {name: a, run: [x], needs: [a]}\n").message.find("a → a"), std::string::npos);
}

TEST(Definition, NamesWhatIsUnknown) {
  EXPECT_NE(fault("  - {name: a, run: [x], needs: [zz]}\n").message.find("Step 'a' needs 'zz'"), std::string::npos);
  EXPECT_EQ(fault("  - {name: a, run: [x], inputs: {f: b/f}}\n").reason, "pipelines.unknown_step");
  EXPECT_EQ(fault("  - {name: b, run: [x]}\n  - {name: a, run: [x], inputs: {f: b/f}}\n").reason,
            "pipelines.unknown_output");
  EXPECT_EQ(fault("  - {name: a, run: [x], inputs: {f: bf}}\n").reason, "pipelines.bad_input");
  EXPECT_EQ(fault("  - {name: a, uses: os.system}\n").reason, "pipelines.unknown_builtin");
  EXPECT_EQ(fault("  - {name: a, run: ['${params.y}']}\n").reason, "pipelines.unknown_param");
  EXPECT_EQ(fault("  - {name: a, run: ['${steps.b.result.k}']}\n").reason, "pipelines.unknown_step");
  EXPECT_EQ(fault("  - {name: b, run: [x]}\n  - {name: a, run: ['${steps.b.outputs.k}']}\n").reason,
            "pipelines.bad_reference");
  EXPECT_EQ(fault("  - {name: a, run: ['${env.HOME}']}\n").reason, "pipelines.bad_reference");
  EXPECT_EQ(fault("  - {name: a, run: ['${params.x']}\n").reason, "expand.malformed");
  const Error field = fault("  - {name: a, run: [x], retry: 3}\n");
  EXPECT_EQ(field.reason, "json.unknown_field");
  EXPECT_NE(field.message.find("steps[0].retry"), std::string::npos);
}

TEST(Definition, RefusesStepsThatDoNothingOrTwoThings) {
  EXPECT_EQ(fault("  - {name: a}\n").reason, "pipelines.no_action");
  EXPECT_EQ(fault("  - {name: a, run: [x], uses: models.gate}\n").reason, "pipelines.no_action");
  EXPECT_EQ(fault("  - {name: a, run: [x]}\n  - {name: a, run: [x]}\n").reason, "pipelines.duplicate_step");
  EXPECT_EQ(fault("  - {name: a.b, run: [x]}\n").reason, "pipelines.bad_step_name");
  EXPECT_EQ(fault("  - {name: a, run: [[x]]}\n").reason, "pipelines.bad_argument");
  EXPECT_EQ(parse("name: p\nsteps: []\n").error().reason, "pipelines.no_steps");
  EXPECT_EQ(parse("name: runs\nsteps: [{name: a, run: [x]}]\n").error().reason, "pipelines.reserved_name");
  EXPECT_FALSE(parse("name: ../p\nsteps: [{name: a, run: [x]}]\n"));
  EXPECT_FALSE(parse("[]"));
  EXPECT_FALSE(parse(""));
}

TEST(Definition, RefusesPathsThatLeaveTheFolder) {
  for (const auto* path : {"../x", "/etc/passwd", "a/../../x", "", "."}) {
    EXPECT_EQ(fault("  - {name: a, run: [x], outputs: ['" + std::string(path) + "']}\n").reason, "pipelines.bad_path")
        << path;
    EXPECT_FALSE(check_files({{path, "x"}})) << path;
  }
  EXPECT_EQ(fault("  - {name: b, run: [x], outputs: [f]}\n  - {name: a, run: [x], inputs: {'../f': b/f}}\n").reason,
            "pipelines.bad_path");
}

TEST(Definition, ChecksNumbersAtTheirLimits) {
  EXPECT_EQ(fault("  - {name: a, run: [x], retries: 20}\n").reason, "accepted");
  EXPECT_EQ(fault("  - {name: a, run: [x], retries: 21}\n").reason, "pipelines.bad_retries");
  EXPECT_EQ(fault("  - {name: a, run: [x], retries: -1}\n").reason, "pipelines.bad_retries");
  EXPECT_EQ(fault("  - {name: a, run: [x], timeout: 7d}\n").reason, "accepted");
  EXPECT_EQ(fault("  - {name: a, run: [x], timeout: 8d}\n").reason, "pipelines.bad_duration");
  EXPECT_EQ(fault("  - {name: a, run: [x], timeout: 0s}\n").reason, "pipelines.bad_duration");
  EXPECT_EQ(fault("  - {name: a, run: [x], memory_mib: 15}\n").reason, "pipelines.bad_memory");
}

TEST(Definition, HundredThousandStepsAreRefusedAndALongChainIsNot) {
  Limits wide;
  wide.definition_bytes_max = 64 << 20;
  std::string many = "name: p\nsteps:\n";
  for (int i = 0; i < 1'001; ++i) {
    if (i == 1'000) {
      EXPECT_TRUE(parse_definition(many, kBuiltins, wide));
    }
    many += "- {name: s" + std::to_string(i) + ", run: [x]" +
            (i > 0 ? ", needs: [s" + std::to_string(i - 1) + "]" : "") + "}\n";
  }
  EXPECT_EQ(parse_definition(many, kBuiltins, wide).error().reason, "pipelines.too_many_steps");
  EXPECT_EQ(parse(std::string(256 * 1024 + 1, ' ')).error().reason, "pipelines.definition_too_large");
}

TEST(Definition, HostileYamlIsRefused) {
  EXPECT_FALSE(parse("name: &a p\nsteps: [*a]\n"));
  EXPECT_FALSE(parse("name: !!python/object:os.system p\nsteps: [{name: a, run: [x]}]\n"));
  EXPECT_FALSE(parse("name: p\nname: q\nsteps: [{name: a, run: [x]}]\n"));
  EXPECT_FALSE(parse(std::string(100'000, '[')));
  EXPECT_FALSE(parse("name: p\n<<: {description: x}\nsteps: [{name: a, run: [x]}]\n"));
  const auto norway = parse("name: p\nparams: {country: no}\nsteps: [{name: a, run: [x]}]\n");
  ASSERT_TRUE(norway);
  EXPECT_EQ(norway->definition.params.at("country"), "no");
}

TEST(Definition, CompletesParams) {
  const auto plan =
      parse("name: p\nparams: {n: 1, x: 0.5, must: null, word: a}\nsteps: [{name: a, run: [x]}]\n").value();
  const auto params = complete_params(plan.definition, {{"must", 3}, {"x", 1}, {"n", 0.25}});
  ASSERT_TRUE(params) << params.error().text();
  EXPECT_EQ(json::canonical(*params), R"({"must":3,"n":0.25,"word":"a","x":1})");
  EXPECT_EQ(json::canonical(complete_params(plan.definition, {{"must", "3"}, {"n", "7"}, {"word", "7"}}).value()),
            R"({"must":"3","n":7,"word":"7","x":0.5})")
      << "text that spells a number is one where the default is one";
  EXPECT_EQ(complete_params(plan.definition, {{"must", 3}, {"n", "seven"}}).error().reason, "pipelines.bad_param");
  EXPECT_EQ(complete_params(plan.definition, {}).error().reason, "pipelines.missing_param");
  EXPECT_EQ(complete_params(plan.definition, {{"must", 3}, {"y", 1}}).error().reason, "pipelines.unknown_param");
  EXPECT_EQ(complete_params(plan.definition, {{"must", 3}, {"word", 1}}).error().reason, "pipelines.bad_param");
}

TEST(Definition, FilesAreLimitedInNumberAndSize) {
  Limits limits;
  limits.files_max = 2;
  limits.files_bytes_max = 10;
  EXPECT_TRUE(check_files({{"a", "12345"}, {"b", "12345"}}, limits));
  EXPECT_EQ(check_files({{"a", "12345"}, {"b", "123456"}}, limits).error().code, Code::kTooLarge);
  EXPECT_EQ(check_files({{"a", ""}, {"b", ""}, {"c", ""}}, limits).error().code, Code::kTooLarge);
}

TEST(Definition, AFileCannotBeAFolderToo) {
  EXPECT_TRUE(check_files({{"steps/train.py", "x"}, {"steps.py", "x"}}));
  EXPECT_EQ(check_files({{"steps", "x"}, {"steps/train.py", "x"}}).error().reason, "pipelines.bad_files");
}

}  // namespace
}  // namespace tidemill::pipelines
