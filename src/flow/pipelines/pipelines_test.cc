#include "flow/pipelines/pipelines.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <random>

#include "base/clock.h"
#include "flow/pipelines/house_test.h"
#include "jobs/process_tree.h"
#include "jobs/shim.h"

namespace tidemill::pipelines {
namespace {

Options limited(int steps_parallel) {
  Options options;
  options.limits.steps_parallel = steps_parallel;
  return options;
}

const access::Actor kAda{"ada", {access::Role::modeller}};

class PipelinesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(TemporaryFolder::create().value());
    open({});
  }
  void open(Options options) {
    house_.reset();
    house_.emplace(folder_->path(), clock_, std::move(options));
    house_->pipelines->add_builtin("test.echo", [this](const BuiltinCall& call) -> Result<json::Object> {
      ++echoes_;
      call.log("echo says hello");
      return call.with;
    });
    house_->pipelines->add_builtin("test.fail", [this](const BuiltinCall&) -> Result<json::Object> {
      return fail(Code::kFailedPrecondition, "test.failed", "Failure " + std::to_string(++failures_) + ".");
    });
    house_->pipelines->add_builtin("test.wait", [this](const BuiltinCall& call) -> Result<json::Object> {
      ++waits_;
      while (!call.cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      return fail(Code::kConflict, "test.cancelled", "Cancelled.");
    });
  }

  Pipelines& rooms() { return *house_->pipelines; }

  // Adds the pipeline `p` with these steps, runs it and waits for its end.
  pipelines::Run run(const std::string& steps, std::map<std::string, std::string> files = {}, json::Object params = {},
                     const std::string& declared = "{}") {
    const auto version = rooms().add(kAda, {"name: p\nparams: " + declared + "\nsteps:\n" + steps, std::move(files)});
    EXPECT_TRUE(version) << version.error().text();
    if (!version) return {};
    start_jobs();
    const auto started = rooms().start(kAda, "p", {std::move(params), "a test", std::nullopt});
    EXPECT_TRUE(started) << started.error().text();
    return started ? house_->await(started->id) : pipelines::Run{};
  }
  void start_jobs() {
    if (!started_) house_->jobs->start();
    started_ = true;
  }
  static const Step& step(const pipelines::Run& run, std::string_view name) {
    for (const Step& step : run.steps) {
      if (step.name == name) return step;
    }
    static const Step kNone;
    ADD_FAILURE() << "no step " << name;
    return kNone;
  }
  std::string log(const pipelines::Run& run, std::string_view step_name) {
    auto part = rooms().log(run.id, step_name, 0, 0);
    return part ? part->text : part.error().message;
  }
  template <class F>
  void await_that(F&& condition) {
    for (int i = 0; i < 4'000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(condition());
  }

  const SystemClock clock_;
  std::optional<TemporaryFolder> folder_;
  std::optional<House> house_;
  bool started_ = false;
  std::atomic<int> echoes_ = 0;
  std::atomic<int> failures_ = 0;
  std::atomic<int> waits_ = 0;
};

TEST_F(PipelinesTest, FilesResultsAndParamsFlowFromStepToStep) {
  const pipelines::Run done =
      run("  - name: make\n"
          "    run: [sh, code/make.sh, '${params.word}']\n"
          "    outputs: [data/out.txt]\n"
          "  - name: use\n"
          "    run: [sh, -c, 'cat inputs/in.txt params.json; echo \"$1\" \"$2\"', x, '${steps.make.result.n}', "
          "'${run.cause}']\n"
          "    inputs: {in.txt: make/data/out.txt}\n"
          "    with: {twice: '${steps.make.result.n}'}\n"
          "  - name: echo\n"
          "    uses: test.echo\n"
          "    with: {all: '${steps.make.result}', text: 'n=${steps.make.result.n}'}\n",
          {{"make.sh",
            "mkdir outputs/data; echo \"got $1\" >outputs/data/out.txt; echo '{\"n\": 7, \"deep\": {\"x\": [1]}}' "
            ">outputs/result.json\n"}},
          {{"word", "hi there; rm -rf /"}}, "{word: none, other: 1}");
  ASSERT_EQ(done.state, RunState::succeeded) << done.message;
  EXPECT_EQ(log(done, "use"),
            "got hi there; rm -rf /\n{\"word\":\"hi there; rm -rf /\",\"other\":1,\"twice\":7}7 a test\n");
  EXPECT_EQ(json::canonical(step(done, "echo").result), R"({"all":{"deep":{"x":[1]},"n":7},"text":"n=7"})");
  EXPECT_EQ(log(done, "echo"), "echo says hello\n");
  const auto output = rooms().output(done.id, "make", "data/out.txt");
  ASSERT_TRUE(output);
  EXPECT_EQ(house_->blobs->read(blobs::BlobId::trusted(output->blob), 1'000).value(), "got hi there; rm -rf /\n");
  EXPECT_FALSE(std::filesystem::exists(folder_->path() / "pipelines" / "work" / done.id.str()))
      << "the work folder is swept";
}

TEST_F(PipelinesTest, TheSameContentIsTheSameVersion) {
  const NewVersion content{"name: p\nsteps: [{name: a, run: ['true']}]\n", {{"a.py", "1"}}};
  const auto first = rooms().add(kAda, content).value();
  EXPECT_EQ(rooms().add(kAda, content)->number, first.number);
  const auto second = rooms().add(kAda, {content.definition, {{"a.py", "2"}}}).value();
  EXPECT_EQ(second.number, first.number + 1);
  EXPECT_NE(second.digest, first.digest);
  EXPECT_EQ(rooms().version("p")->number, 2);
  EXPECT_EQ(rooms().version("p", 1)->digest, first.digest);
  EXPECT_EQ(rooms().version("p", 3).error().reason, "pipelines.unknown_version");
  EXPECT_EQ(rooms().version("q").error().reason, "pipelines.unknown");
  EXPECT_EQ(rooms().list()->size(), 1U);
  EXPECT_EQ(rooms().start(kAda, "p", {{}, "", 9}).error().reason, "pipelines.unknown_version");
  EXPECT_EQ(rooms().start(kAda, "p", {{{"x", 1}}, "", {}}).error().reason, "pipelines.unknown_param");
}

TEST_F(PipelinesTest, AFailureSkipsWhatNeedsItAndNothingElse) {
  const pipelines::Run done =
      run("  - {name: bad, run: [sh, -c, 'echo the reason >&2; exit 3']}\n"
          "  - {name: after, uses: test.echo, needs: [bad]}\n"
          "  - {name: last, uses: test.echo, needs: [after]}\n"
          "  - {name: beside, uses: test.echo}\n");
  EXPECT_EQ(done.state, RunState::failed);
  EXPECT_EQ(done.message, "Step 'bad' failed. It exited with code 3. Its last line: the reason");
  EXPECT_EQ(step(done, "after").state, StepState::skipped);
  EXPECT_EQ(step(done, "last").state, StepState::skipped);
  EXPECT_EQ(step(done, "beside").state, StepState::succeeded);
}

TEST_F(PipelinesTest, NamesWhatAStepDidWrong) {
  const pipelines::Run done =
      run("  - {name: hangs, run: [sleep, 100], timeout: 200ms}\n"
          "  - {name: waits, uses: test.wait, timeout: 100ms}\n"
          "  - {name: missing, run: [no-such-program]}\n"
          "  - {name: silent, run: ['true'], outputs: [model.onnx]}\n"
          "  - {name: linked, run: [ln, -s, /etc/passwd, outputs/x], outputs: [x]}\n"
          "  - {name: array, run: [sh, -c, 'echo [1] >outputs/result.json']}\n"
          "  - {name: nan, run: [sh, -c, 'echo {\\\"x\\\":NaN} >outputs/result.json']}\n"
          "  - {name: long, run: [sh, -c, 'head -c 300000 /dev/zero >outputs/result.json']}\n"
          "  - {name: hog, run: [sh, -c, 'a=x; while :; do a=$a$a; done'], memory_mib: 64}\n"
          "  - {name: binary, run: [sh, -c, 'printf \"\\377\\376 oops\" >&2; exit 1']}\n");
  EXPECT_EQ(step(done, "hangs").message, "It was ended after its time limit of 0.2 s.");
  EXPECT_EQ(step(done, "waits").message, "It was told to end after its time limit of 0.1 s.");
  EXPECT_NE(step(done, "missing").message.find("'no-such-program' could not be started"), std::string::npos);
  EXPECT_NE(step(done, "silent").message.find("did not write its output 'model.onnx'"), std::string::npos);
  EXPECT_EQ(step(done, "linked").state, StepState::failed) << "a link must not carry files of the machine away";
  EXPECT_NE(step(done, "array").message.find("is not an object"), std::string::npos);
  EXPECT_NE(step(done, "nan").message.find("is not an object"), std::string::npos);
  EXPECT_NE(step(done, "long").message.find("65536 bytes"), std::string::npos);
  EXPECT_EQ(step(done, "hog").message, "It was killed for using more than its 64 MiB of memory.");
  EXPECT_NE(step(done, "binary").message.find("\xEF\xBF\xBD\xEF\xBF\xBD oops"), std::string::npos);
}

TEST_F(PipelinesTest, TriesAgainAsOftenAsAllowed) {
  const pipelines::Run done =
      run("  - {name: never, uses: test.fail, retries: 2, retry_delay: 5ms}\n"
          "  - {name: third, run: [sh, -c, 'echo x >>\"$COUNT\"; [ $(wc -l <\"$COUNT\") -ge 3 ]'], retries: 4, "
          "retry_delay: 5ms,"
          " env: {COUNT: '${params.file}'}}\n",
          {}, {{"file", (folder_->path() / "count").string()}}, "{file: null}");
  EXPECT_EQ(step(done, "never").state, StepState::failed);
  EXPECT_EQ(step(done, "never").attempts, 3);
  EXPECT_EQ(failures_, 3);
  EXPECT_EQ(step(done, "third").state, StepState::succeeded);
  EXPECT_EQ(step(done, "third").attempts, 3);
  EXPECT_EQ(step(done, "third").failures, 2);
}

TEST_F(PipelinesTest, AConditionSkipsWithoutFailing) {
  const pipelines::Run done =
      run("  - {name: gate, uses: test.echo, with: {passed: false}}\n"
          "  - {name: release, uses: test.echo, when: '${steps.gate.result.passed}'}\n"
          "  - {name: after, uses: test.echo, needs: [release]}\n"
          "  - {name: other, uses: test.echo, when: 'true', needs: [gate]}\n");
  EXPECT_EQ(done.state, RunState::succeeded) << done.message;
  EXPECT_EQ(step(done, "release").state, StepState::skipped);
  EXPECT_EQ(step(done, "after").state, StepState::skipped);
  EXPECT_EQ(step(done, "other").state, StepState::succeeded);
  const pipelines::Run odd =
      run("  - {name: gate, uses: test.echo, with: {passed: 3}}\n  - {name: b, uses: test.echo, when: "
          "'${steps.gate.result.passed}'}\n");
  EXPECT_NE(step(odd, "b").message.find("`when` of step 'b' is 3"), std::string::npos);
  const pipelines::Run lacking =
      run("  - {name: gate, uses: test.echo}\n  - {name: b, uses: test.echo, with: {x: '${steps.gate.result.auc}'}}\n");
  EXPECT_NE(step(lacking, "b").message.find("The result of step 'gate' lacks 'auc'"), std::string::npos);
}

TEST_F(PipelinesTest, ReusesWhatWasMadeFromTheSame) {
  const std::string steps =
      "  - {name: a, cache: true, run: [sh, -c, 'echo ran; echo $1 >outputs/f; echo {\\\"k\\\":1} "
      ">outputs/result.json', x, '${params.n}'],"
      " outputs: [f]}\n"
      "  - {name: b, cache: true, uses: test.echo, with: {k: '${steps.a.result.k}'}, inputs: {f: a/f}}\n";
  const pipelines::Run first = run(steps, {{"x.py", "1"}}, {}, "{n: 1}");
  ASSERT_EQ(first.state, RunState::succeeded) << first.message;
  const pipelines::Run second = run(steps, {{"x.py", "1"}}, {}, "{n: 1}");
  EXPECT_TRUE(step(second, "a").cached);
  EXPECT_TRUE(step(second, "b").cached);
  EXPECT_EQ(step(second, "a").attempts, 0);
  EXPECT_EQ(step(second, "a").outputs[0].blob, step(first, "a").outputs[0].blob);
  EXPECT_EQ(step(second, "a").result.at("k").as_int64(), 1);
  EXPECT_EQ(step(second, "a").message, "Reused from step 'a' of run " + first.id.str() + ".");
  EXPECT_EQ(echoes_, 1);
  EXPECT_FALSE(step(run(steps, {{"x.py", "2"}}, {}, "{n: 1}"), "a").cached) << "other code";
  const pipelines::Run other = run(steps, {{"x.py", "1"}}, {{"n", 2}}, "{n: 1}");
  EXPECT_FALSE(step(other, "a").cached) << "another parameter";
  EXPECT_FALSE(step(other, "b").cached) << "another input";
}

TEST_F(PipelinesTest, AFailureIsNeverCached) {
  const std::string steps = "  - {name: a, cache: true, uses: test.fail}\n";
  run(steps);
  run(steps);
  EXPECT_EQ(failures_, 2);
}

TEST_F(PipelinesTest, CancelEndsProcessesAndWhatWaits) {
  ASSERT_TRUE(
      rooms().add(kAda, {"name: p\nsteps:\n"
                         "  - {name: a, run: [sh, -c, 'trap \"\" TERM; echo up; while :; do sleep 0.05; done']}\n"
                         "  - {name: b, uses: test.wait}\n"
                         "  - {name: c, uses: test.echo, needs: [a]}\n",
                         {}}));
  start_jobs();
  const auto id = rooms().start(kAda, "p", {})->id;
  await_that([&] { return waits_ == 1 && rooms().log(id, "a", 0, 0).value_or(Pipelines::LogPart{}).text == "up\n"; });
  EXPECT_FALSE(rooms().log(id, "a", 0, 0)->ended);
  ASSERT_TRUE(rooms().cancel(kAda, id));
  const pipelines::Run done = house_->await(id);
  EXPECT_EQ(done.state, RunState::cancelled);
  for (const auto* name : {"a", "b", "c"}) EXPECT_EQ(step(done, name).state, StepState::cancelled) << name;
  EXPECT_EQ(jobs::kill_marked(id.str() + ".a"), 0) << "survivors";
  EXPECT_EQ(rooms().cancel(kAda, id).error().reason, "pipelines.run_ended");
  EXPECT_EQ(echoes_, 0);
}

TEST_F(PipelinesTest, AQueuedRunIsCancelledAtOnce) {
  ASSERT_TRUE(rooms().add(kAda, {"name: p\nsteps: [{name: a, uses: test.echo}]\n", {}}));
  const auto id = rooms().start(kAda, "p", {})->id;
  EXPECT_EQ(rooms().cancel(kAda, id)->state, RunState::cancelled);
  start_jobs();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(echoes_, 0);
  EXPECT_EQ(rooms().cancel(kAda, PipelineRunId::generate()).error().code, Code::kNotFound);
}

TEST_F(PipelinesTest, StepsRunBesideEachOtherUpToTheLimit) {
  open(limited(3));
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  rooms().add_builtin("test.count", [&](const BuiltinCall&) -> Result<json::Object> {
    const int mine = ++now;
    for (int seen = most; seen < mine && !most.compare_exchange_weak(seen, mine);) {
    }
    // Each stays until three have met, so that a busy machine lets them meet too; then a little, for a fourth to show.
    for (int i = 0; i < 10'000 && most < 3; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    --now;
    return json::Object{};
  });
  std::string steps;
  for (int i = 0; i < 12; ++i) steps += "  - {name: s" + std::to_string(i) + ", uses: test.count}\n";
  EXPECT_EQ(run(steps).state, RunState::succeeded);
  EXPECT_EQ(most, 3);
}

TEST_F(PipelinesTest, AStopLeavesTheRunToTheNextStart) {
  ASSERT_TRUE(rooms().add(
      kAda, {"name: p\nsteps:\n"
             "  - {name: first, uses: test.echo}\n"
             "  - {name: slow, run: [sh, -c, 'echo up; [ $TIDEMILL_ATTEMPT = 2 ] || sleep 1000'], needs: [first]}\n",
             {}}));
  start_jobs();
  const auto id = rooms().start(kAda, "p", {})->id;
  await_that([&] { return rooms().log(id, "slow", 0, 0).value_or(Pipelines::LogPart{}).text == "up\n"; });
  house_->jobs->stop();
  EXPECT_EQ(rooms().run(id)->state, RunState::running);
  started_ = false;
  open({});
  start_jobs();
  const pipelines::Run done = house_->await(id);
  EXPECT_EQ(done.state, RunState::succeeded) << done.message;
  EXPECT_EQ(step(done, "first").attempts, 1) << "what had finished was not run again";
  EXPECT_EQ(step(done, "slow").attempts, 2);
  EXPECT_EQ(step(done, "slow").failures, 0) << "the stop was not its fault";
}

TEST_F(PipelinesTest, EventsTellTheWholeStory) {
  const pipelines::Run done = run("  - {name: a, uses: test.echo}\n");
  std::string story;
  const auto events =
      house_->events
          ->read({.after_seq = 0, .kind_prefix = "pipelines.", .subject_prefix = "pipelines/p/runs/" + done.id.str()})
          .value();
  for (const auto& event : events) story += event.kind.substr(10) + " ";
  EXPECT_EQ(story, "run_queued run_started step_started step_finished run_finished ");
  EXPECT_EQ(events.back().payload.at("state").as_string(), "succeeded");
  EXPECT_EQ(events.back().payload.at("cause").as_string(), "a test");
  EXPECT_TRUE(house_->events->verify()->ok);
}

// --- a server that is killed at any moment
// ----------------------------------------------------------------------------

// 20 process steps in five layers of four, each of which shows what it does in files that outlive it.
std::string twenty_steps() {
  std::string yaml = "name: p\nparams: {dir: null}\nsteps:\n";
  for (int layer = 0; layer < 5; ++layer) {
    for (int i = 0; i < 4; ++i) {
      yaml += "  - name: s" + std::to_string(layer * 4 + i) +
              "\n    run: [sh, code/step.sh, '${params.dir}']\n    outputs: [out]\n";
      if (layer > 0)
        yaml += "    inputs: {before: s" + std::to_string((layer - 1) * 4 + i) + "/out}\n    needs: [s" +
                std::to_string((layer - 1) * 4 + (i + 1) % 4) + "]\n";
    }
  }
  return yaml;
}
constexpr const char* kStepScript = R"(
exec 9>"$1/$TIDEMILL_STEP.lock"
flock -n 9 || echo "$TIDEMILL_STEP" >>"$1/overlaps"
echo "begin $TIDEMILL_ATTEMPT" >>"$1/$TIDEMILL_STEP"
sleep 0.0$((1 + $$ % 9))
echo x >outputs/out
echo "end $TIDEMILL_ATTEMPT" >>"$1/$TIDEMILL_STEP"
)";

// What the killed process does: run what there is until it is done.
int serve(const std::filesystem::path& folder) {
  const SystemClock clock;
  House house(folder, clock, limited(4));
  house.jobs->start();
  for (int i = 0; i < 12'000 && house.pipelines->live_runs().value_or(1) > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return 0;
}

TEST_F(PipelinesTest, SurvivesBeingKilledAtAnyMoment) {
  const auto shown = folder_->path() / "shown";
  std::filesystem::create_directory(shown);
  ASSERT_TRUE(rooms().add(kAda, {twenty_steps(), {{"step.sh", kStepScript}}}));
  const auto id = rooms().start(kAda, "p", {{{"dir", shown.string()}}, "", {}})->id;
  house_.reset();
  std::mt19937 random(20261125);  // NOLINT: the same kills in every run
  int kills = 0;
  for (int life = 0; life < 200; ++life) {
    const pid_t server = ::fork();
    ASSERT_GE(server, 0);
    if (server == 0) {
      ::execl("/proc/self/exe", "pipelines_test", "__serve", folder_->path().c_str(), nullptr);
      ::_exit(1);
    }
    // Longer and longer, so that a busy machine gets something done too.
    const int patience_ms = std::uniform_int_distribution(5, 80 + 8 * life)(random);
    int status = 0;
    bool ended = false;
    for (int waited_ms = 0; waited_ms < patience_ms && !ended; ++waited_ms) {
      ended = ::waitpid(server, &status, WNOHANG) == server;
      if (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (ended) {
      ASSERT_EQ(status, 0);
      break;
    }
    ::kill(server, SIGKILL);
    ::waitpid(server, nullptr, 0);
    ++kills;
  }
  EXPECT_GE(kills, 3) << "too quick to be a test";
  open({});
  const pipelines::Run done = rooms().run(id).value();
  EXPECT_EQ(done.state, RunState::succeeded) << done.message << " after " << kills << " kills";
  EXPECT_FALSE(std::filesystem::exists(shown / "overlaps")) << "two live copies of a step";
  for (const Step& one : done.steps) {
    EXPECT_EQ(one.state, StepState::succeeded) << one.name;
    std::ifstream file(shown / one.name);
    std::string word;
    std::int64_t attempt = 0;
    std::int64_t newest = 0;
    while (file >> word >> attempt) {
      EXPECT_GE(attempt, newest) << one.name << ": an older attempt wrote after a newer one";
      newest = attempt;
    }
    EXPECT_EQ(newest, one.attempts) << one.name << ": the recorded attempt is the last that did anything";
    EXPECT_EQ(word, "end") << one.name;
    const auto events =
        house_->events->read({.after_seq = 0, .kind_prefix = "pipelines.step_", .subject_prefix = "", .limit = 1'000})
            .value();
    int finished = 0;
    for (const auto& event : events) {
      if (event.payload.at("step").as_string() != one.name) continue;
      EXPECT_EQ(finished, 0) << one.name << " did something after it was recorded as finished";
      if (event.kind == "pipelines.step_finished") ++finished;
    }
    EXPECT_EQ(finished, 1) << one.name;
  }
  EXPECT_TRUE(house_->events->verify()->ok);
  RecordProperty("kills", kills);
}

}  // namespace
}  // namespace tidemill::pipelines

// The test binary is its own shim, as the server is, and the server that is killed.
int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == tidemill::jobs::kShimVerb) return tidemill::jobs::run_shim();
  if (argc > 2 && std::string_view(argv[1]) == "__serve") return tidemill::pipelines::serve(argv[2]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
