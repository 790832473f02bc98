#include "flow/triggers/triggers.h"

#include <gtest/gtest.h>

#include "flow/pipelines/house_test.h"

namespace tidemill::triggers {
namespace {

const access::Actor kAda{"ada", {access::Role::modeller}};

class TriggersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(TemporaryFolder::create().value());
    open();
    ASSERT_TRUE(house_->pipelines->add(
        kAda, {"name: p\nparams: {model: none, auc: 0}\nsteps: [{name: a, uses: test.note, with: {model: "
               "'${params.model}', auc: '${params.auc}', cause: '${run.cause}'}}]\n",
               {}}));
  }
  void open() {
    triggers_.reset();
    house_.reset();
    house_.emplace(folder_->path(), clock_);
    house_->pipelines->add_builtin(
        "test.note", [](const pipelines::BuiltinCall& call) -> Result<json::Object> { return call.with; });
    triggers_ = Triggers::create(*house_->database, *house_->events, *house_->pipelines, clock_).value();
  }
  void emit(std::string kind, std::string subject, json::Object payload = {}) {
    ASSERT_TRUE(house_->database->write([&](sql::Tx& tx) {
      return house_->events->append(tx, {kind, subject, "test", payload});
    }));
  }
  static NewTrigger on(EventFilter filter, json::Object params = {}) {
    return {"t", std::move(filter), std::nullopt, std::nullopt, {"p", std::move(params)}, std::nullopt};
  }
  static NewTrigger every(std::string text) {
    return {"t", std::nullopt, std::move(text), std::nullopt, {"p", std::nullopt}, std::nullopt};
  }

  std::vector<Fire> fires() { return triggers_->fires("t").value(); }
  std::vector<Fire> await_fires(std::size_t count) {
    for (int i = 0; i < 2'000 && fires().size() < count; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return fires();
  }
  // Waits until the loop has looked at everything.
  void settle() {
    for (int i = 0; i < 2'000 && !triggers_->idle(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(triggers_->idle());
  }
  std::size_t runs() { return house_->pipelines->runs({})->size(); }

  FakeClock clock_;
  std::optional<TemporaryFolder> folder_;
  std::optional<pipelines::House> house_;
  std::unique_ptr<Triggers> triggers_;
};

TEST_F(TriggersTest, AnEventStartsThePipelineWithItsValues) {
  ASSERT_TRUE(triggers_->make(kAda, on({"monitors.alerted", "monitors/flights", std::nullopt},
                                       {{"model", "${event.payload.model}"}, {"auc", "${event.payload.auc}"}})));
  triggers_->start();
  house_->jobs->start();
  emit("monitors.alerted", "monitors/other", {{"model", "x"}});
  emit("monitors.closed", "monitors/flights", {{"model", "x"}});
  emit("monitors.alerted", "monitors/flights/2013-03",
       {{"model", "delay"}, {"auc", 0.61}, {"cause", "AUC 0.61 < 0.68"}});
  const auto fired = await_fires(1);
  settle();
  ASSERT_EQ(fires().size(), 1U);
  EXPECT_EQ(fired[0].cause, "monitors.alerted monitors/flights/2013-03: AUC 0.61 < 0.68");
  EXPECT_EQ(fired[0].outcome, FireOutcome::started);
  const auto run = house_->await(pipelines::PipelineRunId::trusted(fired[0].pipeline_run.value()));
  EXPECT_EQ(run.state, pipelines::RunState::succeeded) << run.message;
  EXPECT_EQ(run.made_by, "triggers/t");
  EXPECT_EQ(json::canonical(run.steps[0].result),
            R"({"auc":0.61,"cause":"monitors.alerted monitors/flights/2013-03: AUC 0.61 < 0.68","model":"delay"})");
  const auto events =
      house_->events->read({.after_seq = 0, .kind_prefix = "triggers.fired", .subject_prefix = "triggers/t"}).value();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].payload.at("pipeline_run").as_string(), run.id.str());
}

TEST_F(TriggersTest, NothingBeforeItsTimeFires) {
  emit("a.happened", "a/1");
  ASSERT_TRUE(triggers_->make(kAda, on({"a.happened", std::nullopt, std::nullopt})));
  triggers_->start();
  settle();
  EXPECT_TRUE(fires().empty());
  emit("a.happened", "a/2");
  EXPECT_EQ(await_fires(1).size(), 1U);
  ASSERT_TRUE(triggers_->enable(kAda, "t", false));
  emit("a.happened", "a/3");
  settle();
  ASSERT_TRUE(triggers_->enable(kAda, "t", true));
  settle();
  EXPECT_EQ(fires().size(), 1U) << "what happened while it was disabled is not made up for";
  emit("a.happened", "a/4");
  EXPECT_EQ(await_fires(2).size(), 2U);
}

TEST_F(TriggersTest, EventsWhileTheServerWasDownFireOnceAfterwards) {
  ASSERT_TRUE(triggers_->make(kAda, on({"a.", std::nullopt, std::nullopt})));
  for (int i = 0; i < 5; ++i) emit("a.happened", "a/" + std::to_string(i));
  triggers_->start();
  EXPECT_EQ(await_fires(5).size(), 5U);
  open();  // its cursor on disk stands at the fifth
  triggers_->start();
  emit("a.happened", "a/6");
  EXPECT_EQ(await_fires(6).size(), 6U);
  settle();
  EXPECT_EQ(fires().size(), 6U);
  EXPECT_EQ(runs(), 6U);
}

TEST_F(TriggersTest, AnEventNeverFiresTwiceEvenWhenTheCursorIsLost) {
  ASSERT_TRUE(triggers_->make(kAda, on({"a.happened", std::nullopt, std::nullopt})));
  emit("a.happened", "a/1");
  triggers_->start();
  await_fires(1);
  triggers_->stop();
  constexpr sql::Query kRewind{"test.rewind", "UPDATE triggers SET cursor_seq = 0"};
  ASSERT_TRUE(house_->database->write([&](sql::Tx& tx) { return tx.exec(kRewind); }));
  open();
  triggers_->start();
  settle();
  EXPECT_EQ(runs(), 1U) << "the unique index stands behind the cursor";
}

TEST_F(TriggersTest, WhereComparesPayloadFields) {
  ASSERT_TRUE(triggers_->make(kAda, on({"a.happened", std::nullopt, json::Object{{"kind", "drift"}, {"n", 2}}})));
  triggers_->start();
  emit("a.happened", "a/1", {{"kind", "drift"}});
  emit("a.happened", "a/2", {{"kind", "drift"}, {"n", 3}});
  emit("a.happened", "a/3", {{"kind", "drift"}, {"n", 2}, {"more", true}});
  await_fires(1);
  settle();
  ASSERT_EQ(fires().size(), 1U);
  EXPECT_EQ(fires()[0].cause, "a.happened a/3");
}

TEST_F(TriggersTest, CoolsDown) {
  NewTrigger trigger = on({"a.happened", std::nullopt, std::nullopt});
  trigger.cooldown = "1h";
  ASSERT_TRUE(triggers_->make(kAda, trigger));
  triggers_->start();
  emit("a.happened", "a/1");
  await_fires(1);
  clock_.advance_ms(3'599'999);
  emit("a.happened", "a/2");
  EXPECT_EQ(await_fires(2)[0].outcome, FireOutcome::cooling);
  EXPECT_EQ(runs(), 1U);
  clock_.advance_ms(1);
  emit("a.happened", "a/3");
  EXPECT_EQ(await_fires(3)[0].outcome, FireOutcome::started);
  EXPECT_EQ(triggers_->fire(kAda, "t")->outcome, FireOutcome::started) << "a person need not wait";
}

TEST_F(TriggersTest, SchedulesFireOncePerMoment) {
  ASSERT_TRUE(triggers_->make(kAda, every("1h")));
  triggers_->start();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_TRUE(fires().empty());
  const std::int64_t due_ms = clock_.now_ms() + 3'600'000;
  clock_.advance_ms(3'600'000);
  const auto first = await_fires(1);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].due_ms, due_ms);
  EXPECT_EQ(first[0].cause, "every 1h");
  triggers_->stop();
  clock_.advance_ms(10 * 3'600'000);
  open();
  triggers_->start();
  await_fires(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  EXPECT_EQ(fires().size(), 2U) << "ten missed, one made up for";
}

TEST_F(TriggersTest, RecordsWhatThePipelineRefused) {
  ASSERT_TRUE(triggers_->make(kAda, on({"a.happened", std::nullopt, std::nullopt}, {{"auc", "${event.payload.auc}"}})));
  triggers_->start();
  emit("a.happened", "a/1", {{"auc", "high"}});
  emit("a.happened", "a/2");
  const auto failed = await_fires(2);
  EXPECT_EQ(failed[1].outcome, FireOutcome::failed);
  EXPECT_NE(failed[1].message.find("Parameter 'auc' of pipeline 'p' cannot be \"high\""), std::string::npos)
      << failed[1].message;
  EXPECT_EQ(failed[0].outcome, FireOutcome::failed);
  EXPECT_NE(failed[0].message.find("'auc'"), std::string::npos);
  emit("a.happened", "a/3", {{"auc", 0.5}});
  EXPECT_EQ(await_fires(3)[0].outcome, FireOutcome::started) << "the loop goes on";
  EXPECT_EQ(triggers_->fire(kAda, "t").error().reason, "triggers.refused") << "its params need an event";
}

TEST_F(TriggersTest, RefusesWhatCannotWork) {
  const auto reason = [&](NewTrigger trigger) {
    const auto made = triggers_->make(kAda, trigger);
    return made ? std::string("accepted") : made.error().reason;
  };
  EXPECT_EQ(reason({"t", {}, {}, {}, {"p", {}}, {}}), "triggers.when");
  NewTrigger both = every("1h");
  both.cron = "* * * * *";
  EXPECT_EQ(reason(both), "triggers.when");
  EXPECT_EQ(reason(every("1ms")), "jobs.too_often");
  EXPECT_EQ(reason(on({"triggers.fired", {}, {}})), "triggers.bad_kind");
  EXPECT_EQ(reason(on({"", {}, {}})), "triggers.bad_kind");
  EXPECT_EQ(reason(on({"a.b", {}, {}}, {{"nope", 1}})), "triggers.unknown_param");
  EXPECT_EQ(reason(on({"a.b", {}, {}}, {{"model", "${event.nope}"}})), "triggers.bad_reference");
  EXPECT_EQ(reason(on({"a.b", {}, {}}, {{"model", "${params.x}"}})), "triggers.bad_reference");
  NewTrigger scheduled = every("1h");
  scheduled.start.params = json::Object{{"model", "${event.subject}"}};
  EXPECT_EQ(reason(scheduled), "triggers.bad_reference");
  NewTrigger elsewhere = every("1h");
  elsewhere.start.pipeline = "q";
  EXPECT_EQ(reason(elsewhere), "pipelines.unknown");
  EXPECT_EQ(reason(every("1h")), "accepted");
  EXPECT_EQ(reason(every("1h")), "triggers.exists");
  EXPECT_EQ(triggers_->replace(kAda, every("2h"))->every, "2h");
  EXPECT_EQ(triggers_->get("u").error().reason, "triggers.unknown");
  EXPECT_EQ(triggers_->fires("t", 0, 501).error().reason, "triggers.bad_limit");
}

}  // namespace
}  // namespace tidemill::triggers
