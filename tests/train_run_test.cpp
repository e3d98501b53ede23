// What `fulmar train` does with its pictures and its run folder, and what stops it.
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/training.h"

using namespace fulmar;
using namespace fulmar::test;

namespace fs = std::filesystem;

namespace {

bool has_temporary(const std::string& folder) {
  if (!fs::exists(folder)) return false;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".tmp") return true;
  return false;
}

// Of "needs about 59.1 MB of memory: 51.9 MB for the network, ...", the network's share, in MB.
double network_memory(const std::string& err) {
  std::smatch found;
  if (!std::regex_search(err, found, std::regex("memory: ([0-9.]+) MB for the network"))) return 0;
  return std::stod(found[1]);
}

}  // namespace

TEST_CASE("SIGINT and SIGTERM amid an epoch: exit 130, and resuming gives the same bits") {
  const TrainingFiles files({"neg", "pos"}, 60, 64);
  const auto arguments = [&](const std::string& run) {
    return std::vector<std::string>{"train",   files.data, "--out",      run,        "--crop",
                                    "64",      "--widths", "8,16",       "--epochs", "2",
                                    "--batch", "2",        "--sampling", "epoch"};
  };
  const std::string whole = files.folder.path("whole");
  REQUIRE(fulmar_program(arguments(whole)).code == 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    CAPTURE(signal);
    const std::string run = files.folder.path("run-" + std::to_string(signal));
    HowToRun how;
    how.interrupt_at = "takes about";  // after the second batch of 60
    how.signal = signal;
    const Ended e = fulmar_program(arguments(run), how);
    CAPTURE(e.err);
    CHECK(e.code == 130);
    CHECK(has(e.err, "interrupted"));
    CHECK(has(e.err, run + "/last.safetensors"));
    CHECK(e.out.empty());
    CHECK(column(run, "epoch").empty());  // the first epoch had not ended
    CHECK_FALSE(has_temporary(run));
    const Ended resumed = fulmar_program({"train", "--out", run, "--resume"});
    CHECK_MESSAGE(resumed.code == 0, resumed.err);
    CHECK(tensors_in(run + "/last.safetensors") == tensors_in(whole + "/last.safetensors"));
    CHECK(column(run, "loss") == column(whole, "loss"));
  }
}

TEST_CASE("--recompute needs less memory and changes no bit, begun or resumed with it") {
  const TrainingFiles files({"neg", "pos"}, 12, 64);
  const auto arguments = [&](const std::string& run, const std::string& epochs) {
    return std::vector<std::string>{"train",   files.data, "--out",      run,        "--crop",
                                    "64",      "--widths", "8,16",       "--epochs", epochs,
                                    "--batch", "8",        "--schedule", "plateau"};
  };
  const auto with = [](std::vector<std::string> words) {
    words.emplace_back("--recompute");
    return words;
  };
  const std::string kept = files.folder.path("kept"), again = files.folder.path("again");
  const Ended whole = fulmar_program(arguments(kept, "2"));
  REQUIRE(whole.code == 0);
  const Ended first = fulmar_program(with(arguments(again, "1")));
  REQUIRE_MESSAGE(first.code == 0, first.err);
  CHECK(network_memory(first.err) > 0);
  CHECK(network_memory(first.err) < 0.9 * network_memory(whole.err));
  REQUIRE(fulmar_program(arguments(again, "2")).code != 0);  // --resume is not given
  const Ended second = fulmar_program(with({"train", "--out", again, "--resume", "--epochs", "2"}));
  REQUIRE_MESSAGE(second.code == 0, second.err);
  CHECK(tensors_in(again + "/last.safetensors") == tensors_in(kept + "/last.safetensors"));
  CHECK(column(again, "loss") == column(kept, "loss"));
}

TEST_CASE("a signal while pictures are decoded into a cache: exit 130, and nothing stays") {
  const TrainingFiles files({"neg", "pos"}, 1, 700);
  for (const char* name : {"neg", "pos"})
    for (int i = 0; i < 200; i++)
      fs::create_symlink("100.bmp",
                         files.data + "/" + name + "/" + std::to_string(i + 200) + ".bmp");
  const std::string cache = files.folder.path("cache");
  HowToRun how;
  how.interrupt_at = "on disk";  // the last that is said before
  const Ended e = fulmar_program(
      files.arguments({"--channels", "1", "--threads", "1", "--epochs", "1", "--cache", cache}),
      how);
  CAPTURE(e.err);
  CHECK(e.code == 130);
  CHECK_FALSE(has(e.err, "takes about"));
  CHECK_FALSE(fs::exists(files.run));
  CHECK_FALSE(has_temporary(files.folder.path()));
}

TEST_CASE("what a run needs is said before pictures are decoded") {
  const TrainingFiles files;
  const std::string broken = files.data + "/pos/109.bmp";
  const std::string bytes = contents(broken);
  const Ended whole = fulmar_program(files.arguments({"--epochs", "1", "--validation", "0.25"}));
  CHECK_MESSAGE(whole.code == 0, whole.err);
  CHECK(has(whole.err, "training on 18 pictures ("));
  CHECK(has(whole.err, "validating on 6"));
  // 24 pictures of 16 x 16 x 3 bytes; 3 batches of 8 in each of two loaders.
  CHECK(has(whole.err, "36.9 kB for batches, 18.4 kB for decoded pictures"));
  CHECK(has(whole.err, "on disk for the run"));
  CHECK(has(whole.err, "pictures decoded: 24 in the first epoch, 0 later"));
  CHECK_FALSE(has(whole.err, "2x2"));
  fs::remove_all(files.run);

  // Of 16 pixels a side block 5 gets one.
  const Ended deep = fulmar_program({"train", files.data, "--out", files.run, "--crop", "16",
                                     "--widths", "4,4,4,4,4", "--epochs", "1"});
  CHECK_MESSAGE(deep.code == 0, deep.err);
  CHECK(has(deep.err, "fewer than 2x2 pixels: a larger --crop or fewer --widths"));
  fs::remove_all(files.run);

  const std::string cache = files.folder.path("cache");
  const Ended cached =
      fulmar_program(files.arguments({"--epochs", "1", "--cache", cache, "--validation", "0.25"}));
  CHECK(has(cached.err, "0 B for decoded pictures"));
  CHECK(has(cached.err, "18.4 kB in " + cache));
  CHECK(has(cached.err, "pictures decoded: 24 in the first epoch, 0 later"));
  fs::remove_all(files.run);
  const Ended again =
      fulmar_program(files.arguments({"--epochs", "2", "--cache", cache, "--validation", "0.25"}));
  CHECK(has(again.err, "pictures decoded: 0 in the first epoch, 0 later"));
  fs::remove_all(files.run);

  write_file(broken, bytes.substr(0, bytes.size() - 1));
  const Ended e = fulmar_program(files.arguments({"--epochs", "1"}));
  CHECK(e.code == 3);
  CHECK(has(e.err, "needs about"));
  CHECK(e.err.find("needs about") < e.err.find(broken));
  CHECK_FALSE(fs::exists(files.run));

  write_file(broken, bytes);
  save_picture(files.data + "/pos/small.bmp", 15, 1);
  const Ended small = fulmar_program(files.arguments({"--epochs", "1"}));
  CHECK(small.code == 3);
  CHECK(has(small.err, "small.bmp"));
  CHECK_FALSE(has(small.err, "needs about"));
}

TEST_CASE("a run folder that can't be written is told of before pictures are decoded") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: not run by root, who can become another user");
    return;
  }
  const TrainingFiles files;
  fs::permissions(files.folder.path(), fs::perms(0755));
  fs::create_directories(files.run);
  const std::string broken = files.data + "/pos/109.bmp";
  const std::string bytes = contents(broken);
  write_file(broken, bytes.substr(0, bytes.size() - 1));
  HowToRun how;
  how.nobody = true;
  const Ended e = fulmar_program(files.arguments({"--epochs", "1"}), how);
  CHECK(e.code == 3);
  CHECK(has(e.err, files.run));
  CHECK_FALSE(has(e.err, broken));
}

TEST_CASE("transparency that is left out is said once, in one sentence, everywhere") {
  const TrainingFiles files({"neg", "pos"}, 0);
  for (const char* name : {"neg", "pos"})
    for (int i = 0; i < 4; i++) {
      fs::create_directories(files.data + "/" + name);
      fs::copy_file(golden("images/alpha.png"),
                    files.data + "/" + name + "/" + std::to_string(i) + ".png");
    }
  const std::string sentence = "transparency of some pictures is left out\n";
  for (const std::vector<std::string>& options :
       {std::vector<std::string>{}, {"--memory", "0"}, {"--cache", files.folder.path("cache")}}) {
    fs::remove_all(files.run);
    std::vector<std::string> all{"--epochs", "2", "--validation", "0.25"};
    all.insert(all.end(), options.begin(), options.end());
    const Ended e = fulmar_program(files.arguments(all));
    CHECK_MESSAGE(e.code == 0, e.err);
    CHECK(count_of(e.err, sentence) == 1);
    CHECK(count_of(e.err, "ransparency") == 1);
  }
  const std::string model = files.run + "/best.safetensors";
  for (const char* command : {"eval", "predict"}) {
    const Ended e = fulmar_program({command, model, files.data});
    CHECK_MESSAGE(e.code == 0, e.err);
    CHECK(count_of(e.err, sentence) == 1);
    CHECK(count_of(e.err, "ransparency") == 1);
  }
}

TEST_CASE("links that lead nowhere and an unlabelled test folder don't stop training") {
  const TrainingFiles files;
  fs::create_directories(files.folder.path("both"));
  fs::rename(files.data, files.folder.path("both/train"));
  fs::create_symlink("nowhere", files.folder.path("both/train/pos/broken.txt"));
  save_picture(files.folder.path("both/test/1.bmp"), 16, 1);
  fs::rename(files.folder.path("both"), files.data);
  const Ended e = fulmar_program(files.arguments({"--epochs", "1"}));
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.err, "broken.txt"));
  const Ended predicted =
      fulmar_program({"predict", files.run + "/best.safetensors", files.data + "/train/pos"});
  CHECK_MESSAGE(predicted.code == 0, predicted.err);
}

TEST_CASE("names that no model file can hold, and a last.safetensors of something else: exit 3") {
  const TrainingFiles files;
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& name) {
    const Ended e = fulmar_program(arguments);
    CAPTURE(e.err);
    CHECK(e.code == 3);
    CHECK(has(e.err, name));
  };
  REQUIRE(fulmar_program(files.arguments({"--epochs", "1"})).code == 0);
  const std::string last = files.run + "/last.safetensors";
  save_model(last, {"neg", "pos"});
  refused({"train", "--out", files.run, "--resume"}, last);
  fs::remove_all(files.run);
  fs::rename(files.data, files.folder.path("d\xE6ta"));
  refused({"train", files.folder.path("d\xE6ta"), "--out", files.run, "--crop", "16"}, "not UTF-8");
  fs::rename(files.folder.path("d\xE6ta"), files.data);
  fs::rename(files.data + "/neg", files.data + "/n\xE6g");
  refused(files.arguments(), files.data + "/n\xE6g");
  CHECK_FALSE(fs::exists(files.run));
}
