#include "tools/progress.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tools/run/text.h"
#include "tools/table.h"
#include "tools/train_reporter.h"

using namespace fulmar::tools;

namespace {

// A console and a clock that the test holds.
struct Stage {
  explicit Stage(int columns)
      : console([this](std::string_view text) { shown.emplace_back(text); },
                [columns] { return columns; }) {}

  Progress progress(int64_t total) {
    return Progress(total, "images", console, [this] { return now; });
  }
  size_t drawn() const {
    size_t count = 0;
    for (const std::string& text : shown) count += text != "\r\x1b[K";
    return count;
  }

  double now = 100;
  std::vector<std::string> shown;
  Console console;
};

}  // namespace

TEST_CASE("a terminal gets a bar with rate, detail and time left, at most ten times a second") {
  Stage stage(100);
  {
    Progress progress = stage.progress(1000);
    progress.label("epoch 3/200");
    progress.detail("loss 0.3121");
    for (int i = 1; i <= 500; i++) {
      stage.now = 100 + 0.02 * i;
      progress.update(i);
    }
    CHECK(stage.drawn() >= 80);
    CHECK(stage.drawn() <= 101);
    stage.now += 1;
    progress.update(500);
    CHECK(progress.per_second() == doctest::Approx(500 / 11.0));
    CHECK(progress.seconds_left() == doctest::Approx(11));
    CHECK(
        stage.shown.back() ==
        "epoch 3/200  [===========>          ]  50 %  500/1000 images  45.5 images/s  loss 0.3121  "
        "0:11 left");
  }
  CHECK(stage.shown.back() == "\r\x1b[K");
}

TEST_CASE("a bar never fills the terminal's width: the least important goes first") {
  for (int columns : {1, 5, 20, 40, 60, 80, 200}) {
    Stage stage(columns);
    Progress progress = stage.progress(1632);
    progress.label("epoch 3/200");
    progress.detail("loss 0.3121");
    stage.now += 10;
    progress.update(618);
    const std::string line = stage.shown.empty() ? "" : stage.shown.back();
    CHECK(display_width(line) < columns);
    if (columns >= 20) CHECK(line.find("37 %") != std::string::npos);
    if (columns >= 80) CHECK(line.find("61.8 images/s") != std::string::npos);
  }
}

TEST_CASE("a training's line has room for a bar in 80 columns") {
  Stage stage(80);
  Progress progress = stage.progress(2746);
  progress.label("epoch 12/50");
  progress.detail("loss 0.1234");
  progress.then(38 * 2746, 8);
  stage.now += 10;
  progress.update(913);
  CHECK(stage.shown.back() ==
        "epoch 12/50  [==>     ]  33 %  91.3 images/s  loss 0.1234  0:20 left, run 19:31");
}

TEST_CASE("elsewhere there are whole lines, ever more rarely") {
  Stage stage(0);
  Progress progress = stage.progress(100000);
  for (int i = 1; i <= 6000; i++) {
    stage.now = 100 + 0.1 * i;
    progress.update(i);
  }
  CHECK(stage.shown.size() >= 10);  // after 5, 15, 35, 75, 135, 195, … of 600 s
  CHECK(stage.shown.size() <= 14);
  for (const std::string& line : stage.shown) CHECK(line.back() == '\n');
  CHECK(stage.shown[0] == "0 %  50/100000 images  10.0 images/s  2:46:35 left\n");
}

TEST_CASE("a resumed job's rate leaves out what was done before") {
  Stage stage(0);
  Progress progress = stage.progress(1000);
  progress.start_at(900);
  stage.now += 10;
  progress.update(950);
  CHECK(progress.per_second() == doctest::Approx(5));
  CHECK(progress.seconds_left() == doctest::Approx(10));
}

TEST_CASE("what comes after a job is in the time to the end of all") {
  Stage stage(0);
  Progress progress = stage.progress(100);
  progress.then(1000, 30);
  stage.now += 10;
  progress.update(50);
  CHECK(stage.shown.back() == "50 %  50/100 images  5.00 images/s  0:10 left, run 4:00\n");
}

TEST_CASE("training shows the epoch, its validation, and the time to the end of all") {
  Stage stage(0);
  Reporter reporter(stage.console, [&] { return stage.now; });
  const auto batch = [&](int64_t epoch, int64_t samples) {
    stage.now += 10;
    reporter.on_batch({epoch, 3, samples, 100, 0.5, 1e-3});
  };
  batch(1, 50);
  batch(1, 100);
  CHECK(stage.shown[0] ==
        "takes about 20 s an epoch, and 1:00 to epoch 3, validation not counted\n");
  CHECK(stage.shown.back() ==
        "epoch 1/3  100 %  100/100 images  5.00 images/s  loss 0.5  0:00 left, run 0:40\n");
  reporter.on_validation(1, 4);
  stage.now += 12;
  reporter.on_validation(3, 4);
  CHECK(stage.shown.back() ==
        "epoch 1/3 validation  75 %  3/4 batches  0.17 batches/s  0:06 left\n");
  stage.now += 6;
  reporter.on_validation(4, 4);
  reporter.on_epoch({{"epoch", 1}, {"loss", 0.5}, {"fp", 2}, {"seconds", 40}}, true);
  CHECK(stage.shown.back() == "epoch 1  loss 0.5  40 s  (best so far)\n");
  batch(2, 50);
  batch(2, 100);
  // An epoch more, and two validations of 18 s.
  CHECK(stage.shown.back() ==
        "epoch 2/3  100 %  100/100 images  5.00 images/s  loss 0.5  0:00 left, run 0:56\n");
}

TEST_CASE("what is said stands above the bar, and control characters do nothing") {
  Stage stage(40);
  stage.console.status("bar");
  stage.shown.clear();
  stage.console.line("a\x1b[2Jb");
  CHECK(stage.shown == std::vector<std::string>{"\r\x1b[K", "a?[2Jb\n", "bar"});
}

TEST_CASE("tables align, numbers read the same everywhere") {
  using Align = Table::Align;
  Table table({{"class", Align::left}, {"n", Align::right}});
  table.add({"sjø", "7"});
  table.add_rule();
  table.add({"polar low", "1,000"});
  CHECK(table.to_string() ==
        "class          n\n"
        "---------  -----\n"
        "sjø            7\n"
        "---------  -----\n"
        "polar low  1,000\n");
  CHECK(with_separators(1260322) == "1,260,322");
  CHECK(with_separators(-1234) == "-1,234");
  CHECK(with_separators(999) == "999");
  CHECK(readable_bytes(0) == "0 B");
  CHECK(readable_bytes(999) == "999 B");
  CHECK(readable_bytes(1000) == "1.00 kB");
  CHECK(readable_bytes(999999) == "1.00 MB");
  CHECK(readable_bytes(4170000000) == "4.17 GB");
  CHECK(readable_bytes(UINT64_MAX) == "18.4 EB");
  CHECK(readable_count(0.5) == "0.50");
  CHECK(readable_seconds(43) == "0:43");
  CHECK(readable_seconds(3600 * 3 + 12 * 60 + 7) == "3:12:07");
  CHECK(fixed(0.943, 4) == "0.9430");
}
