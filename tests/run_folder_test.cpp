// Run folders through the program: held by one process, moved, made longer, with pictures that are
// no longer those that the run began with.
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/run_folder.h"
#include "tests/support/built.h"
#include "tests/support/refusal.h"
#include "tests/support/training.h"

using namespace fulmar;
using namespace fulmar::test;

namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

// A training that a signal ends within its first epoch.
Ended interrupted(const Words& arguments, int signal = SIGINT) {
  HowToRun how;
  how.interrupt_at = "takes about";
  how.signal = signal;
  return fulmar_program(arguments, how);
}

// Long enough to be interrupted.
Words long_training(const TrainingFiles& files) {
  return {"train", files.data,   "--out", files.run,  "--crop", "64",       "--batch",
          "2",     "--sampling", "epoch", "--widths", "8,16",   "--epochs", "2"};
}

Words resuming(const std::string& run, const Words& more = {}) {
  Words all{"train", "--out", run, "--resume"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// The pictures of two classes change names, with the sizes and times that these had.
void exchange(const std::string& a, const std::string& b) {
  const auto time_a = fs::last_write_time(a), time_b = fs::last_write_time(b);
  const std::string of_a = contents(a), of_b = contents(b);
  REQUIRE(of_a.size() == of_b.size());
  write_file(a, of_b);
  write_file(b, of_a);
  fs::last_write_time(a, time_a);
  fs::last_write_time(b, time_b);
}

}  // namespace

TEST_CASE("a run holds its folder: a second one is refused by name and process") {
  const TrainingFiles files;
  const std::string me = "process " + std::to_string(::getpid());
  REQUIRE(fulmar_program(files.arguments({"--epochs", "1"})).code == 0);
  CHECK_FALSE(fs::exists(files.run + "/run.lock"));
  const std::string other = files.folder.path("other");
  model::RunFolder held(files.run), fresh(other);
  CHECK(held.hold().empty());
  CHECK(fresh.hold().empty());
  const auto as_nobody_else = [&](const Words& arguments, const std::string& run) {
    check_refused({arguments, 3, {run + " is in use by " + me + " on ", " since 20"}},
                  files.folder.path());
  };
  as_nobody_else(resuming(files.run), files.run);
  as_nobody_else({"train", files.data, "--out", other, "--crop", "16"}, other);
  try {
    model::RunFolder(files.run).hold();
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::file);
  }
}

TEST_CASE("two trainings started at once into one folder: one is refused, the other is whole") {
  const TrainingFiles files;
  for (int attempt = 0; attempt < 3; attempt++) {
    fs::remove_all(files.run);
    Ended ends[2];
    const auto train = [&](int i) {
      ends[i] = fulmar_program(files.arguments({"--epochs", "3", "--seed", std::to_string(i)}));
    };
    std::thread first(train, 0);
    train(1);
    first.join();
    const int winner = ends[0].code == 0 ? 0 : 1;
    CAPTURE(ends[0].err);
    CAPTURE(ends[1].err);
    CHECK(ends[winner].code == 0);
    CHECK(ends[1 - winner].code == 3);
    const std::string& why = ends[1 - winner].err;
    CHECK((has(why, files.run + " is in use by process ") || has(why, "holds a run already")));
    CHECK(json_in(files.run + "/config.json")["seed"] == winner);
    CHECK(column(files.run, "epoch") == std::vector<double>{1, 2, 3});
  }
}

TEST_CASE("what a killed run leaves behind is taken over") {
  const TrainingFiles files({"neg", "pos"}, 30, 64);
  const Ended killed = interrupted(long_training(files), SIGKILL);
  REQUIRE(killed.code == 128 + SIGKILL);
  CHECK(has(contents(files.run + "/run.lock"), "process "));
  const Ended resumed = fulmar_program(resuming(files.run));
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
  CHECK_FALSE(fs::exists(files.run + "/run.lock"));
}

TEST_CASE("where the file system can't lock, that is said once and the run goes on") {
  const TrainingFiles files;
  HowToRun how;
  how.environment = {"LD_PRELOAD=" + built::failing_calls, "FULMAR_FAILING_CALLS=flock=38"};
  const Ended e = fulmar_program(files.arguments({"--epochs", "2"}), how);
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(count_of(e.err, "can't lock (Function not implemented)") == 1);
  CHECK(has(e.err, files.run + ": the file system can't lock"));
  CHECK(fulmar_program(resuming(files.run), how).code == 0);
  CHECK_FALSE(fs::exists(files.run + "/run.lock"));
}

TEST_CASE("a project that moved: --resume says how, and takes the same pictures at a new place") {
  const TrainingFiles files({"neg", "pos"}, 30, 64);
  REQUIRE(interrupted(long_training(files)).code == 130);
  const std::string whole = files.folder.path("whole");
  Words undisturbed = long_training(files);
  undisturbed[3] = whole;
  REQUIRE(fulmar_program(undisturbed).code == 0);

  const std::string moved = files.folder.path("moved");
  fs::rename(files.data, moved);
  check_refused(
      {resuming(files.run),
       3,
       {files.data + ": no such folder", "fulmar train DIR --out " + files.run + " --resume"}},
      files.folder.path());
  // Copied, with other times: the same content counts.
  const std::string copied = files.folder.path("copied");
  fs::copy(moved, copied, fs::copy_options::recursive);
  const Ended resumed = fulmar_program({"train", copied, "--out", files.run, "--resume"});
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
  CHECK(has(resumed.err, "which lay in " + files.data + ", are taken from " + copied + " now"));
  CHECK(json_in(files.run + "/config.json")["dataset"] == copied);
  CHECK(tensors_in(files.run + "/last.safetensors") == tensors_in(whole + "/last.safetensors"));
  // Known from now on.
  const Ended again = fulmar_program(resuming(files.run));
  CHECK_MESSAGE(again.code == 0, again.err);
  CHECK_FALSE(has(again.err, "which lay in"));
  // Other pictures at a new place are not taken.
  exchange(moved + "/neg/100.bmp", moved + "/pos/100.bmp");
  check_refused({{"train", moved, "--out", files.run, "--resume"},
                 3,
                 {"moved/neg/100.bmp: no longer what this run began with, and 1 more"}},
                files.folder.path());
}

TEST_CASE("pictures exchanged under their names are noticed, though size and time stayed") {
  const TrainingFiles files({"neg", "pos"}, 30, 64);
  REQUIRE(interrupted(long_training(files)).code == 130);
  const std::string neg = files.data + "/neg/101.bmp", pos = files.data + "/pos/103.bmp";
  exchange(neg, pos);
  check_refused(
      {resuming(files.run),
       3,
       {neg + ": no longer what this run began with, and 1 more (" + files.run + "/pictures.txt)",
        "restore the pictures"}},
      files.folder.path());
  exchange(neg, pos);
  // Of a run of an older version only the names are known.
  fs::remove(files.run + "/pictures.txt");
  const Ended e = fulmar_program(resuming(files.run));
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.err, "pictures.txt is missing"));
  CHECK(fs::exists(files.run + "/pictures.txt"));
  write_file(files.run + "/pictures.txt", "damaged");
  check_refused({resuming(files.run), 3, {files.run + "/pictures.txt: not a list"}},
                files.folder.path());
}

TEST_CASE(
    "a cache is not believed where pictures were exchanged, and names what is left of others") {
  const TrainingFiles files;
  const std::string cache = files.folder.path("cache");
  const auto train = [&](const std::string& run, const Words& more) {
    Words arguments{"train",    files.data, "--out",    files.folder.path(run),
                    "--crop",   "16",       "--epochs", "1",
                    "--widths", "4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ended e = fulmar_program(arguments);
    CHECK_MESSAGE(e.code == 0, e.err);
    return e.err;
  };
  train("first", {"--cache", cache});
  exchange(files.data + "/neg/101.bmp", files.data + "/pos/103.bmp");
  CHECK_FALSE(has(train("second", {"--cache", cache}), "fulmarpack"));
  train("plain", {});
  CHECK(contents(files.folder.path("second/best.safetensors")) ==
        contents(files.folder.path("plain/best.safetensors")));
  // The dataset gets another name: nothing is decoded again. Other bands are other pictures.
  fs::rename(files.data, files.data + "-renamed");
  fs::create_symlink(files.data + "-renamed", files.data);
  train("third", {"--cache", cache});
  CHECK(has(train("grey", {"--cache", cache, "--channels", "1"}),
            cache + " also holds 1 file (*.fulmarpack, "));
}

TEST_CASE("--resume --epochs makes a run longer where the schedule allows it, or says how else") {
  const TrainingFiles files;
  const std::string whole = files.folder.path("whole");
  // The second: a rate that falls and begins anew, whatever the last epoch is.
  for (const Words& schedule :
       {Words{}, Words{"--schedule", "restarts", "--restart-epochs", "3"}}) {
    fs::remove_all(files.run);
    fs::remove_all(whole);
    const auto of_epochs = [&](const char* epochs) {
      Words words{"--epochs", epochs};
      words.insert(words.end(), schedule.begin(), schedule.end());
      return files.arguments(words);
    };
    Words undisturbed = of_epochs("4");
    undisturbed[3] = whole;
    REQUIRE(fulmar_program(undisturbed).code == 0);
    REQUIRE(fulmar_program(of_epochs("2")).code == 0);
    const Ended at_end = fulmar_program(resuming(files.run));
    CHECK(at_end.code == 0);
    CHECK(has(at_end.err, "this run had had its 2 epochs; --epochs N makes it longer"));
    const Ended longer = fulmar_program(resuming(files.run, {"--epochs", "4"}));
    CHECK_MESSAGE(longer.code == 0, longer.err);
    CHECK(json_in(files.run + "/config.json")["epochs"] == 4);
    CHECK(column(files.run, "loss") == column(whole, "loss"));
    for (const char* name : {"/last.safetensors", "/best.safetensors"})
      CHECK(tensors_in(files.run + name) == tensors_in(whole + name));
  }
  check_refused({resuming(files.run, {"--epochs", "3"}),
                 2,
                 {"--epochs was 4", "is 3 here: a run can only become longer"}},
                files.folder.path());

  // A rate that comes to rest at the last epoch.
  fs::remove_all(files.run);
  REQUIRE(fulmar_program(files.arguments({"--epochs", "2", "--schedule", "one-cycle"})).code == 0);
  const std::string anew = "fulmar train DIR --out NEW --init " + files.run + "/best.safetensors";
  check_refused({resuming(files.run, {"--epochs", "4"}), 2, {"--schedule one-cycle", anew}},
                files.folder.path());
  CHECK(has(fulmar_program(resuming(files.run)).err, anew));
  CHECK(fulmar_program({"train", files.data, "--out", files.folder.path("new"), "--init",
                        files.run + "/best.safetensors", "--crop", "16", "--widths", "4,8",
                        "--epochs", "1"})
            .code == 0);

  // One that stopped by itself.
  fs::remove_all(files.run);
  REQUIRE(fulmar_program(files.arguments({"--epochs", "50", "--stop-patience", "1", "--lr", "0.3"}))
              .code == 0);
  const auto epochs = column(files.run, "epoch").size();
  REQUIRE(epochs < 50);
  const Ended stopped = fulmar_program(resuming(files.run, {"--epochs", "60"}));
  CHECK(stopped.code == 0);
  CHECK(has(stopped.err, "stopped early, after " + std::to_string(epochs) + " epochs"));
  CHECK(has(stopped.err, anew));
}

TEST_CASE("a model file tells no path of the machine that it was trained on") {
  const TrainingFiles files;
  const std::string init = files.folder.path("init.safetensors");
  save_model(init, {"neg", "pos"});
  REQUIRE(fulmar_program(files.arguments({"--epochs", "1"})).code == 0);
  fs::rename(files.run, files.run + "-first");
  REQUIRE(fulmar_program(files.arguments({"--epochs", "1", "--validation", "0.25", "--init", init}))
              .code == 0);
  for (const char* name : {"/best.safetensors", "/last.safetensors"})
    for (const std::string& run : {files.run, files.run + "-first"})
      CHECK_FALSE(has(contents(run + name), files.folder.path()));
  CHECK(json_in(files.run + "/config.json")["dataset"] == files.data);
  CHECK(json_in(files.run + "/config.json")["init"] == init);
  CHECK(fulmar_program(resuming(files.run)).code == 0);
  CHECK(fulmar_program({"report", files.run}).code == 0);
}
