// kill -9 at random moments of uploads: what was acknowledged is there and whole, nothing else has a trace.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/files.h"
#include "flow/datasets/datasets.h"

namespace tidemill::datasets {
namespace {

constexpr const char* kFolderVariable = "TIDEMILL_CRASH_FOLDER=";

struct House {
  SystemClock clock;
  std::unique_ptr<sql::Database> database;
  std::unique_ptr<events::Events> events;
  std::unique_ptr<blobs::Store> blobs;
  std::unique_ptr<tables::Tables> tables;
  std::unique_ptr<Datasets> datasets;

  explicit House(const std::filesystem::path& folder) {
    database = *sql::Database::open(folder / "db");
    events = *events::Events::create(*database, clock);
    blobs = *blobs::LocalStore::create(folder / "blobs");
    tables = *tables::Tables::create({.folders = {folder}});
    datasets = *Datasets::create(*database, *events, clock, *blobs, *tables, folder / "cache");
  }
};

// Part number `i`: 50 rows that say so.
std::string part_text(std::int64_t i) {
  std::string text = "part,row\n";
  for (int row = 0; row < 50; ++row) text += std::to_string(i) + "," + std::to_string(row) + "\n";
  return text;
}

// Not a test of its own: what the killed process does. It appends parts one after another and writes each acknowledged
// number to descriptor 3.
TEST(DatasetsCrash, DISABLED_Child) {
  const char* folder = std::getenv("TIDEMILL_CRASH_FOLDER");  // NOLINT(concurrency-mt-unsafe)
  if (folder == nullptr) GTEST_SKIP();
  alarm(60);
  House house(folder);
  const auto file = std::filesystem::path(folder) / "upload";
  while (true) {
    const std::int64_t next = house.datasets->get("d")->latest + 1;
    std::ofstream(file, std::ios::trunc) << part_text(next);
    const auto version = house.datasets->add_version({"ann", {}}, "d", {file, "x.csv", Mode::append});
    ASSERT_TRUE(version) << version.error().text();
    if (write(3, &version->number, sizeof(version->number)) != sizeof(version->number)) return;
  }
}

pid_t start_child(const std::filesystem::path& folder, int acknowledged) {
  const std::string variable = kFolderVariable + folder.string();
  std::string program = "/proc/self/exe";
  std::string filter = "--gtest_filter=DatasetsCrash.DISABLED_Child";
  std::string also = "--gtest_also_run_disabled_tests";
  char* argv[] = {program.data(), filter.data(), also.data(), nullptr};
  std::string entry = variable;
  char* environment[] = {entry.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, acknowledged, 3);
  pid_t child = 0;
  EXPECT_EQ(posix_spawn(&child, program.c_str(), &actions, nullptr, argv, environment), 0);
  posix_spawn_file_actions_destroy(&actions);
  return child;
}

// Returns the last number that the child acknowledged before it was killed, at a random moment after the `count`-th.
std::int64_t run_and_kill(const std::filesystem::path& folder, int count, useconds_t then_us) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = start_child(folder, ends[1]);
  close(ends[1]);
  std::int64_t last = 0;
  std::int64_t number = 0;
  for (int i = 0; i < count && read(ends[0], &number, sizeof(number)) == sizeof(number); ++i) last = number;
  usleep(then_us);
  kill(child, SIGKILL);
  while (read(ends[0], &number, sizeof(number)) == sizeof(number)) last = number;
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return last;
}

TEST(DatasetsCrash, WhatWasAcknowledgedSurvivesKill) {
  const auto folder = *TemporaryFolder::create();
  ASSERT_TRUE(House(folder.path()).datasets->add({"ann", {}}, {.name = "d"}));
  std::mt19937_64 random(3);
  for (int round = 0; round < 8; ++round) {
    const auto last = run_and_kill(folder.path(), 1 + round % 3, static_cast<useconds_t>(random() % 60'000));
    ASSERT_GT(last, 0);
    House house(folder.path());
    const auto latest = house.datasets->latest("d");
    ASSERT_TRUE(latest);
    EXPECT_GE(latest->number, last);
    EXPECT_LE(latest->number, last + 1) << "one version may be kept whose answer did not get out";
    EXPECT_EQ(latest->rows, 50 * latest->number);
    const auto files = house.datasets->materialize("d", latest->number);
    ASSERT_TRUE(files) << files.error().text();
    const auto rows = house.tables->read_files(*files, {"part"});
    ASSERT_TRUE(rows) << rows.error().text();
    for (std::size_t i = 0; i < rows->rows; ++i)
      ASSERT_EQ(rows->columns[0].integers()[i], static_cast<std::int64_t>(i / 50) + 1);
    EXPECT_TRUE(house.events->verify()->ok);
    EXPECT_EQ(house.events->read({.kind_prefix = "datasets.version_added", .limit = 1000})->size(),
              static_cast<std::size_t>(latest->number));
    EXPECT_TRUE(house.blobs->check()->damages.empty());
    EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "cache" / "incoming"));
  }
}

}  // namespace
}  // namespace tidemill::datasets
