#include <gtest/gtest.h>

#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <future>
#include <thread>

#include "base/files.h"
#include "jobs/shim.h"
#include "runtimes/onnx_file.h"
#include "runtimes/probe.h"
#include "runtimes/runtime.h"
#include "runtimes/test_models.h"

namespace tidemill::runtimes {
namespace {

using test::bytes;
using test::floats;
using test::Graph;
using test::logistic_graph;
using test::model;
using test::node;
using test::number;
using test::value_info;

class Runtimes : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { runtime_ = Runtime::create(TIDEMILL_ORT_LIBRARY).value(); }
  static void TearDownTestSuite() { runtime_.reset(); }

  std::filesystem::path save(std::string_view content) { return test::write(folder_.path() / "m.onnx", content); }
  Result<std::shared_ptr<const Session>> load(std::string_view content) { return runtime_->load(save(content)); }
  Result<Probe> probe(std::string_view content, ProbeLimits limits = {}) {
    return Prober(executor_, TIDEMILL_ORT_LIBRARY, "/proc/self/exe", limits).accept(save(content));
  }

  static std::shared_ptr<Runtime> runtime_;
  const TemporaryFolder folder_ = TemporaryFolder::create().value();
  const jobs::Executor executor_;
};
std::shared_ptr<Runtime> Runtimes::runtime_;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

std::span<const std::byte> raw(const auto& values) { return std::as_bytes(std::span(values)); }

TEST_F(Runtimes, KnowsItsVersionAndRefusesOtherLibraries) {
  EXPECT_EQ(runtime_->version(), "1.32.0");
  EXPECT_TRUE(Runtime::create(""));  // found by itself
  EXPECT_EQ(Runtime::create("/nowhere/libonnxruntime.so").error().code, Code::kUnavailable);
  EXPECT_NE(Runtime::create("libm.so.6").error().message.find("OrtGetApiBase"), std::string::npos);
}

TEST_F(Runtimes, ScoresARowAsTheFormulaSays) {
  const auto session = load(test::logistic({0.5F, -2.0F}, 0.25F)).value();
  EXPECT_EQ(session->columns(), 2);
  EXPECT_EQ(session->score_rule()->output, "probabilities");
  const std::vector<float> rows = {1, 2, 0, 0, -3, 0.5};
  std::vector<double> scores(3);
  ASSERT_TRUE(session->score(rows, 2, scores));
  EXPECT_NEAR(scores[0], sigmoid(0.5 - 4 + 0.25), 1e-6);
  EXPECT_NEAR(scores[1], sigmoid(0.25), 1e-6);
  EXPECT_NEAR(scores[2], sigmoid(-1.5 - 1 + 0.25), 1e-6);
  const std::vector<double> wide = {1, 2};
  ASSERT_TRUE(session->score(wide, 2, std::span(scores).first(1)));
  EXPECT_NEAR(scores[0], sigmoid(-3.25), 1e-6);
  EXPECT_TRUE(session->score(std::span<const float>(), 2, std::span<double>()));  // no rows, no scores
}

TEST_F(Runtimes, RefusesAMatrixThatDoesNotFit) {
  const auto session = load(test::logistic({1, 1}, 0)).value();
  std::vector<double> scores(2);
  const std::vector<float> values(6);
  EXPECT_NE(session->score(values, 3, scores).error().message.find("3 columns, but the model takes 2"),
            std::string::npos);
  EXPECT_FALSE(session->score(values, 2, scores));  // three rows, two scores
  EXPECT_FALSE(session->score(values, 0, scores));
  EXPECT_FALSE(session->score(values, -2, scores));
}

TEST_F(Runtimes, RunsTensorsAndNamesWhatIsWrongWithThem) {
  const auto session = load(test::logistic({1, 1}, 0)).value();
  const std::vector<float> values = {0, 0};
  const std::vector<std::int64_t> shape = {1, 2};
  const TensorView good{"input", DataType::FP32, shape, raw(values), {}};
  const auto outputs = session->run(std::array{good}).value();
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].shape, shape);
  EXPECT_FLOAT_EQ(outputs[0].as<float>()[1], 0.5F);

  const auto refusal = [&](const std::vector<TensorView>& views) { return session->run(views).error().message; };
  EXPECT_NE(refusal({}).find("'input' is missing"), std::string::npos);
  EXPECT_NE(refusal({good, good}).find("twice"), std::string::npos);
  TensorView other = good;
  other.name = "x";
  EXPECT_NE(refusal({other}).find("no input 'x'"), std::string::npos);
  other = good;
  other.data_type = DataType::FP64;
  EXPECT_NE(refusal({other}).find("is FP64, but the model takes FP32"), std::string::npos);
  for (const std::vector<std::int64_t>& wrong : std::vector<std::vector<std::int64_t>>{
           {2}, {1, 3}, {1, 2, 1}, {-1, 2}, {1ll << 62, 2}, {std::numeric_limits<std::int64_t>::max(), 2}}) {
    other = good;
    other.shape = wrong;
    EXPECT_FALSE(session->run(std::array{other})) << wrong[0];
  }
  other = good;
  other.bytes = raw(values).first(7);
  EXPECT_NE(refusal({other}).find("does not hold"), std::string::npos);
}

TEST_F(Runtimes, CarriesStringsAndIntegersThrough) {
  Graph graph;
  graph.inputs = {value_info("s", test::kString, {-1}), value_info("i", test::kInt64, {-1, 1})};
  graph.nodes = {node("Identity", {"s"}, {"s2"}), node("Identity", {"i"}, {"i2"})};
  graph.outputs = {value_info("s2", test::kString, {-1}), value_info("i2", test::kInt64, {-1, 1})};
  const auto session = load(model(graph)).value();
  EXPECT_FALSE(session->score_rule());
  const std::vector<std::string> texts = {"", "上海", "x"};
  const std::vector<std::int64_t> numbers = {1ll << 60, -1};
  const std::vector<std::int64_t> shape_s = {3};
  const std::vector<std::int64_t> shape_i = {2, 1};
  const auto outputs = session
                           ->run(std::array{TensorView{"i", DataType::INT64, shape_i, raw(numbers), {}},
                                            TensorView{"s", DataType::BYTES, shape_s, {}, texts}})
                           .value();
  EXPECT_EQ(outputs[0].strings, texts);
  EXPECT_EQ(outputs[1].as<std::int64_t>()[0], 1ll << 60);
}

TEST_F(Runtimes, TheScoreRule) {
  const auto with_output = [](const std::vector<std::int64_t>& shape, std::string_view name, std::string_view op) {
    Graph graph;
    graph.inputs = {value_info("input", test::kDouble, {-1, 2})};
    graph.nodes = {op == "ReduceSum" ? node(op, {"input", "axis"}, {std::string(name)},
                                            bytes(5, bytes(1, "keepdims") + number(20, 2) + number(3, 0)))
                                     : node(op, {"input"}, {std::string(name)})};
    if (op == "ReduceSum") {
      graph.initializers = {number(1, 1) + number(2, test::kInt64) + bytes(8, "axis") + bytes(7, test::varint(1))};
    }
    graph.outputs = {value_info(name, test::kDouble, shape)};
    return model(graph);
  };
  const std::vector<double> rows = {0.25, 0.5, 0.125, 1.0};
  std::vector<double> scores(2);
  // [N, 2]: column 1, whatever the only floating output is called, and an FP64 model keeps all the digits
  ASSERT_TRUE(load(with_output({-1, 2}, "whatever", "Identity")).value()->score(rows, 2, scores));
  EXPECT_EQ(scores, (std::vector<double>{0.5, 1.0}));
  // [N]: the value
  ASSERT_TRUE(load(with_output({-1}, "p", "ReduceSum")).value()->score(rows, 2, scores));
  EXPECT_EQ(scores, (std::vector<double>{0.75, 1.125}));
  // [N, 3] is no binary classifier
  Graph wide;
  wide.inputs = {value_info("input", test::kFloat, {-1, 3})};
  wide.nodes = {node("Identity", {"input"}, {"probabilities"})};
  wide.outputs = {value_info("probabilities", test::kFloat, {-1, 3})};
  EXPECT_NE(load(model(wide)).value()->score_rule().error().message.find("[-1, 3]"), std::string::npos);
  // a width that only the run shows
  wide.inputs = {value_info("input", test::kFloat, {-1, -1})};
  wide.outputs = {value_info("probabilities", test::kFloat, {-1, -1})};
  const auto free = load(model(wide)).value();
  const std::vector<float> three(6, 0.5F);
  EXPECT_EQ(free->columns(), 0);
  EXPECT_EQ(free->score(three, 3, scores).error().reason, "runtimes.no_score");
  EXPECT_TRUE(free->score(std::span(three).first(4), 2, scores));
  // a fixed number of rows
  wide.inputs = {value_info("input", test::kFloat, {1, 2})};
  EXPECT_NE(load(model(wide)).value()->score_rule().error().message.find("exactly 1 rows"), std::string::npos);
}

TEST_F(Runtimes, ZipmapIsRefusedWithTheRemedy) {
  Graph graph = logistic_graph({1, 1}, 0);
  const std::string labels =
      bytes(5, bytes(1, "classlabels_int64s") + number(20, 7) + bytes(8, test::varint(0) + test::varint(1)));
  graph.nodes.push_back(node("ZipMap", {"probabilities"}, {"output_probability"}, labels, "ai.onnx.ml"));
  const std::string map = bytes(5, number(1, test::kInt64) + bytes(2, bytes(1, number(1, test::kFloat))));
  graph.outputs = {bytes(1, "output_probability") + bytes(2, bytes(4, bytes(1, map)))};
  const auto session = load(model(graph)).value();
  EXPECT_NE(session->score_rule().error().remedy.find("zipmap"), std::string::npos);
  const std::vector<float> values = {0, 0};
  const std::vector<std::int64_t> shape = {1, 2};
  EXPECT_EQ(session->run(std::array{TensorView{"input", DataType::FP32, shape, raw(values), {}}}).error().reason,
            "runtimes.not_a_tensor");
}

TEST_F(Runtimes, ManyThreadsShareASession) {
  const auto session = load(test::logistic({0.5F, -2.0F}, 0.25F)).value();
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const std::vector<float> row = {static_cast<float>(t), static_cast<float>(i % 7)};
        double score = 0;
        if (!session->score(row, 2, std::span(&score, 1)) ||
            std::abs(score - sigmoid(0.5 * t - 2.0 * (i % 7) + 0.25)) > 1e-6)
          ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Runtimes, InspectionRefusesWhatIsNoOneFileModel) {
  const auto refusal = [](const std::string& content) { return inspect_onnx_bytes(content).error().reason; };
  EXPECT_EQ(refusal(""), "runtimes.model_invalid");
  EXPECT_EQ(refusal("carrier,hour,late\nUA,5,0\n"), "runtimes.model_invalid");
  EXPECT_EQ(refusal(std::string(1000, '\0')), "runtimes.model_invalid");
  EXPECT_EQ(refusal(number(1, 8)), "runtimes.model_invalid");  // no graph

  Graph graph = logistic_graph({1, 1}, 0);
  graph.initializers[0] += bytes(13, bytes(1, "location") + bytes(2, "../../etc/passwd"));
  EXPECT_EQ(refusal(model(graph)), "runtimes.external_data");
  graph = logistic_graph({1, 1}, 0);
  graph.initializers[0] += number(14, 1);
  EXPECT_EQ(refusal(model(graph)), "runtimes.external_data");
  // hidden in an attribute of a graph within a graph
  Graph inner = logistic_graph({1, 1}, 0);
  inner.initializers[0] += number(14, 1);
  graph = logistic_graph({1, 1}, 0);
  graph.nodes.push_back(node("If", {"c"}, {"d"}, bytes(5, bytes(1, "then_branch") + bytes(6, inner.text()))));
  EXPECT_EQ(refusal(model(graph)), "runtimes.external_data");

  graph = logistic_graph({1, 1}, 0);
  graph.nodes.push_back(node("Evil", {"x"}, {"y"}, {}, "com.example"));
  EXPECT_EQ(refusal(model(graph)), "runtimes.custom_operator");

  graph = logistic_graph({1, 1}, 0);
  graph.initializers[0] = floats("w", {1ll << 40, 1ll << 40}, {});
  EXPECT_EQ(refusal(model(graph)), "runtimes.model_too_large");
  graph.initializers[0] = floats("w", {1ll << 31}, {});
  EXPECT_EQ(refusal(model(graph)), "runtimes.model_too_large");
}

TEST_F(Runtimes, InspectionLimitsNodesAndDepth) {
  const std::string content = test::logistic({1, 1}, 0);
  EXPECT_EQ(inspect_onnx_bytes(content, {.nodes_max = 2})->nodes, 2);
  EXPECT_EQ(inspect_onnx_bytes(content, {.nodes_max = 1}).error().code, Code::kTooLarge);
  EXPECT_TRUE(inspect_onnx_bytes(content, {.initializer_bytes_max = 24}));
  EXPECT_EQ(inspect_onnx_bytes(content, {.initializer_bytes_max = 23}).error().code, Code::kTooLarge);
  const auto nested = [](int levels) {
    Graph graph;
    std::string text = graph.text();
    for (int i = 0; i < levels; ++i) {
      graph.nodes = {node("If", {}, {}, bytes(5, bytes(6, text)))};
      text = graph.text();
    }
    return number(1, 8) + bytes(7, text);
  };
  EXPECT_TRUE(inspect_onnx_bytes(nested(4), {.depth_max = 4}));
  EXPECT_EQ(inspect_onnx_bytes(nested(5), {.depth_max = 4}).error().reason, "runtimes.model_too_deep");
  EXPECT_EQ(inspect_onnx_bytes(nested(3000)).error().reason, "runtimes.model_too_deep");  // no deep recursion of ours
  EXPECT_EQ(inspect_onnx(save(content), {.file_bytes_max = content.size() - 1}).error().code, Code::kTooLarge);
}

TEST_F(Runtimes, EveryTruncationIsRefusedOrStillLoads) {
  const std::string content = test::logistic({0.5F, -2.0F, 1.0F}, 0.25F);
  for (std::size_t length = 0; length < content.size(); ++length) {
    const auto seen = inspect_onnx_bytes(std::string_view(content).substr(0, length));
    EXPECT_TRUE(seen || !seen.error().message.empty());
    (void)load(std::string_view(content).substr(
        0, length));  // must not crash: cutting off whole trailing fields may even be valid
  }
  EXPECT_FALSE(load(std::string_view(content).substr(0, content.size() / 2)));
}

TEST_F(Runtimes, TheProbeTellsWhatAModelIs) {
  const auto answer = probe(test::logistic({1, 1, 1}, 0));
  ASSERT_TRUE(answer) << answer.error().text();
  const Probe& seen = *answer;
  EXPECT_EQ(seen.columns, 3);
  EXPECT_EQ(seen.inputs[0].name, "input");
  ASSERT_TRUE(seen.score_rule);
  EXPECT_EQ(seen.score_rule->width, 2);
}

TEST_F(Runtimes, TheProbeRefusesCyclesAndUnknownOperators) {
  Graph graph = logistic_graph({1, 1}, 0);
  graph.nodes = {node("Add", {"input", "z"}, {"y"}), node("Add", {"input", "y"}, {"z"}),
                 node("Softmax", {"y"}, {"probabilities"})};
  graph.initializers.clear();
  const auto cyclic = probe(model(graph));
  ASSERT_FALSE(cyclic);
  EXPECT_EQ(cyclic.error().reason, "runtimes.model_invalid");

  graph = logistic_graph({1, 1}, 0);
  graph.nodes[1] = node("NoSuchOperator", {"logits"}, {"probabilities"});
  EXPECT_NE(probe(model(graph)).error().message.find("NoSuchOperator"), std::string::npos);
}

TEST_F(Runtimes, AModelThatEatsMemoryOrTimeKillsOnlyTheProbe) {
  // 20,000 × 20,000 doubles when it is loaded: constant folding makes the 3.2 GB at once.
  Graph graph = logistic_graph({1, 1}, 0);
  graph.initializers.push_back(number(1, 2) + number(2, test::kInt64) + bytes(8, "shape") +
                               bytes(7, test::varint(30'000) + test::varint(30'000)));
  graph.nodes.push_back(node("ConstantOfShape", {"shape"}, {"huge"}));
  graph.nodes.push_back(
      node("ReduceSum", {"huge"}, {"sum"}, bytes(5, bytes(1, "keepdims") + number(20, 2) + number(3, 0))));
  graph.nodes.push_back(node("Add", {"probabilities", "sum"}, {"scores"}));
  graph.outputs = {value_info("scores", test::kFloat, {-1, 2})};
  const auto refused = probe(model(graph), {.memory_bytes_max = 1u << 30});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument) << refused.error().text();

  const auto late = probe(test::logistic({1, 1}, 0), {.time_ms_max = 1});
  ASSERT_FALSE(late);
  EXPECT_NE(late.error().message.find("time limit"), std::string::npos) << late.error().text();
}

TEST_F(Runtimes, AStoppingServerDoesNotWaitForAProbe) {
  const auto program = save("#!/bin/sh\nsleep 60\n");
  ASSERT_EQ(::chmod(program.c_str(), 0700), 0);
  const auto model = folder_.path() / "slow.onnx";
  ASSERT_TRUE(write_file_durably(model, test::logistic({1, 1}, 0)));
  const Prober prober(executor_, TIDEMILL_ORT_LIBRARY, program);
  const auto begun = std::chrono::steady_clock::now();
  auto asked = std::async(std::launch::async, [&] { return prober.accept(model); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  prober.stop();
  const auto answer = asked.get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, "runtimes.stopping") << answer.error().text();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20)) << "it waited for the probe";
  EXPECT_EQ(prober.accept(model).error().reason, "runtimes.stopping");
}

TEST_F(Runtimes, ProbesInASandboxThatHidesAllButTheModel) {
  const auto model = save(test::logistic({0.5F, -2.0F}, 0.25F));
  const jobs::SandboxFound found = jobs::find_sandbox(executor_, folder_.path());
  const jobs::Sandbox sandbox{.way = found.way, .hidden = {folder_.path()}};
  const Prober prober(executor_, TIDEMILL_ORT_LIBRARY, "/proc/self/exe", {}, {}, sandbox);
  const auto probe = prober.accept(model);
  ASSERT_TRUE(probe) << probe.error().text();
  EXPECT_EQ(probe->columns, 2);
}

TEST_F(Runtimes, AMissingLibraryIsUnavailable) {
  const Prober prober(executor_, "/nowhere/libonnxruntime.so");
  EXPECT_EQ(prober.accept(save(test::logistic({1}, 0))).error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace tidemill::runtimes

// The test binary is its own shim and its own probe, as the server is.
int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == tidemill::jobs::kShimVerb) return tidemill::jobs::run_shim();
  if (argc > 1 && std::string_view(argv[1]) == tidemill::runtimes::kProbeVerb)
    return tidemill::runtimes::probe_main(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
