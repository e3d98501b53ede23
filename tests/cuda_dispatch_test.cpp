#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "kernels/cuda/vendor.h"
#include "tests/support/error_of.h"

// Which algorithm a problem is given: Vendor with libraries that only say what they would do, and a
// clock that reads the time from their texts, so without a GPU.
namespace fulmar::test {
namespace {

using namespace cuda;

// What became of the libraries' algorithms.
struct Log {
  std::vector<std::string> made;
  std::vector<std::string> run;
};

class Noted : public DenseAlgorithm {
 public:
  Noted(Log& log, std::string text, size_t bytes)
      : log_(&log), text_(std::move(text)), bytes_(bytes) {}
  size_t workspace_bytes() const override { return bytes_; }
  void run(const DenseOperands&, void* work) override {
    CHECK(reinterpret_cast<uintptr_t>(work) % 256 == 0);
    log_->run.push_back(text_);
    if (has(text_, "stumbles")) device_error("cuda: " + text_ + " stumbled\nat once");
    if (has(text_, "kills")) throw DeviceLost("cuda: " + text_ + " took the device along");
  }

 private:
  Log* log_;
  std::string text_;
  size_t bytes_;
};

// Proposes the texts of a list; "NAME none" is not supported, "NAME huge" wants too much memory,
// "NAME breaks" fails when it is made, "NAME wrong" is a mistake of ours; with "NAME mute" in the
// list proposing fails.
class Proposing : public DenseLibrary {
 public:
  Proposing(Log& log, std::string name, std::vector<std::string> texts)
      : log_(&log), name_(std::move(name)), texts_(std::move(texts)) {}
  std::string name() const override { return name_; }
  std::vector<std::string> proposals(const DenseProblem&, std::string& why_not) override {
    if (texts_.empty()) why_not = "nothing proposed";
    for (const std::string& text : texts_)
      if (text == name_ + " mute") device_error("cuda: " + name_ + " can't be asked");
    return texts_;
  }
  std::unique_ptr<DenseAlgorithm> make(const DenseProblem&, const std::string& text,
                                       std::string& why_not) override {
    if (text == name_ + " none") {
      why_not = "no such engine";
      return nullptr;
    }
    if (text == name_ + " breaks") device_error("cuda: " + text);
    if (text == name_ + " wrong") usage_error("cuda: " + text);
    log_->made.push_back(text);
    return std::make_unique<Noted>(*log_, text,
                                   text == name_ + " huge"    ? size_t{2} << 30
                                   : text == name_ + " large" ? 2000
                                                              : 1000);
  }

 private:
  Log* log_;
  std::string name_;
  std::vector<std::string> texts_;
};

struct Case {
  Log log;
  bool no_memory = false, no_clock = false;
  Vendor vendor;

  Case(std::vector<std::string> products, std::vector<std::string> convolutions,
       const CudaOptions& options = {Precision::fp32, false, false},
       const CudaDevice& device = {"A GPU", 9, 0, 132, 0, true})
      : vendor(device, options, libraries(products, convolutions), clock()) {}

  size_t plan() { return vendor.plan(problem()); }
  bool run() {
    alignas(64) static std::byte work[4096];
    return vendor.run(problem(), {}, work);
  }
  // The choice of the only problem.
  std::string choice() const {
    const Choices all = Choices::parse(vendor.choices());
    REQUIRE(all.all().size() == 1);
    return all.all().begin()->second;
  }
  std::string key() const { return Choices::parse(vendor.choices()).all().begin()->first; }
  // For the only problem.
  std::string with(const std::string& choice) const {
    Choices choices;
    choices.set(key(), choice);
    return choices.text();
  }

  static DenseProblem problem() {
    return {
        Product::forward, Precision::fp32, {2, 4, 4, 3}, {3, 3, 3, 8}, {2, 2, 2, 8}, {}, 1, false};
  }

 private:
  // "NAME 3" takes 3 ms; without memory nobody knows.
  Timers clock() {
    return [this](const DenseProblem&) -> Timer {
      if (no_clock) device_error("cuda: no clock");
      return [this](DenseAlgorithm& algorithm) {
        alignas(256) static std::byte work[4096];
        if (no_memory) return INFINITY;
        algorithm.run({}, work);
        return std::strtof(log.run.back().c_str() + log.run.back().find(' '), nullptr);
      };
    };
  }
  Vendor::Libraries libraries(std::vector<std::string>& products,
                              std::vector<std::string>& convolutions) {
    Vendor::Libraries made;
    made.push_back(std::make_unique<Proposing>(log, "product", std::move(products)));
    made.push_back(std::make_unique<Proposing>(log, "convolution", std::move(convolutions)));
    return made;
  }
};

}  // namespace

TEST_CASE(
    "cuda dispatch: the first library that proposes something supported is given the problem") {
  Case first({"product none", "product 2", "product 3"}, {"convolution 1"});
  CHECK(first.plan() == 1000 + 256);
  CHECK(first.plan() == 1000 + 256);  // planned once
  CHECK(first.run());
  CHECK(first.log.made == std::vector<std::string>{"product 2"});
  CHECK(first.log.run == std::vector<std::string>{"product 2"});
  CHECK(first.choice() == "product 2 | the heuristic's first, not timed");
  CHECK(has(first.key(), Case::problem().text() + " on A GPU sm_90 cudnn 9."));

  Case second({"product none"}, {"convolution 1"});
  second.plan();
  CHECK(second.run());
  CHECK(second.log.run == std::vector<std::string>{"convolution 1"});
}

TEST_CASE(
    "cuda dispatch: without an algorithm the plain kernels compute it, and the line says why") {
  Case none({}, {"convolution none", "convolution huge"});
  CHECK(none.plan() == 0);
  CHECK(!none.run());
  CHECK(none.log.run.empty());
  CHECK(none.choice() ==
        "plain | product: nothing proposed | convolution: its workspace of 2147483648 bytes is too "
        "large");
  Case empty({"product 1"}, {});
  DenseProblem nothing = Case::problem();
  nothing.x = {0, 4, 4, 3};
  nothing.y = {0, 2, 2, 8};
  CHECK(empty.vendor.plan(nothing) == 0);
  CHECK(!empty.vendor.run(nothing, {}, nullptr));
  CHECK(Choices::parse(empty.vendor.choices()).all().empty());
}

TEST_CASE("cuda dispatch: a stored choice is followed, whatever is proposed now") {
  Case before({}, {"convolution 7"});
  before.plan();
  Case after({"product 1"}, {"convolution 8"});
  after.vendor.use_choices(before.vendor.choices());
  after.plan();
  CHECK(after.run());
  CHECK(after.log.run == std::vector<std::string>{"convolution 7"});
  CHECK(after.vendor.choices() == before.vendor.choices());

  Case plain({}, {});
  plain.plan();
  Case still_plain({"product 1"}, {});
  still_plain.vendor.use_choices(plain.vendor.choices());
  CHECK(still_plain.plan() == 0);
  CHECK(!still_plain.run());
}

TEST_CASE("cuda dispatch: choices of another GPU, or of runs that may differ, are kept, not used") {
  const CudaOptions options{Precision::fp32, false, false};
  Case other({}, {"convolution 7"}, options, {"Another GPU", 9, 0, 132, 0, true});
  other.plan();
  Case loose({}, {"convolution 6"}, {Precision::fp32, true, false});
  loose.plan();
  Case ours({}, {"convolution 8"});
  Choices both = Choices::parse(other.vendor.choices());
  both.set(loose.key(), loose.choice());
  ours.vendor.use_choices(both.text());
  ours.plan();
  ours.run();
  CHECK(ours.log.run == std::vector<std::string>{"convolution 8"});
  CHECK(Choices::parse(ours.vendor.choices()).all().size() == 3);
}

TEST_CASE("cuda dispatch: what goes wrong with choices is an error") {
  Case given({}, {"convolution 1"});
  given.plan();
  const std::string key = given.key();
  CHECK(has(error_of(ErrorKind::file, [&] { Case({}, {}).vendor.use_choices("nonsense"); }),
            "cuda choices: line 1"));
  Case refused({}, {"convolution 1"});
  refused.vendor.use_choices(given.with("convolution none"));
  CHECK(
      has(error_of(ErrorKind::device, [&] { refused.plan(); }),
          "the stored choice \"convolution none\" for " + key + " can't be used: no such engine"));
  Case unknown({}, {"convolution 1"});
  unknown.vendor.use_choices(given.with("elsewhere 1"));
  CHECK(has(error_of(ErrorKind::file, [&] { unknown.plan(); }), "of no library that there is"));
  Case broken({}, {"convolution 1"});
  broken.vendor.use_choices(given.with("convolution breaks"));
  CHECK(error_of(ErrorKind::device, [&] { broken.plan(); }) == "cuda: convolution breaks");
  Case unplanned({}, {"convolution 1"});
  CHECK(has(error_of(ErrorKind::usage, [&] { unplanned.run(); }),
            "was run before its workspace was asked for"));
}

TEST_CASE("cuda dispatch: operands that lie crooked are refused") {
  Case c({}, {"convolution 1"});
  c.plan();
  alignas(16) static std::byte memory[64];
  CHECK(has(error_of(ErrorKind::usage,
                     [&] {
                       c.vendor.run(Case::problem(), {memory, memory + 8, memory}, memory);
                     }),
            "operands must lie at multiples of 16 bytes"));
  CHECK(has(error_of(ErrorKind::usage,
                     [&] {
                       c.vendor.run(Case::problem(), {memory, memory, memory, memory + 4}, memory);
                     }),
            "operands must lie at multiples of 16 bytes"));
}

namespace {
const CudaOptions timed{Precision::fp32, false, true};
}

TEST_CASE("cuda dispatch: the fastest of all libraries is kept, and its line finds it again") {
  Case c({"product none"}, {"convolution 3", "convolution 2", "convolution 4"}, timed);
  CHECK(c.plan() == 1000 + 256);
  CHECK(c.log.run == std::vector<std::string>{"convolution 3", "convolution 2", "convolution 4"});
  CHECK(c.choice() == "convolution 2 | 2.0000 ms, the best of 3 | product: no such engine");
  CHECK(c.run());
  CHECK(c.log.run.back() == "convolution 2");

  struct Row {
    std::vector<std::string> products, convolutions;
    std::string best;
  };
  for (const Row& row :
       {Row{{"product 3", "product 2"}, {"convolution 4", "convolution 1"}, "convolution 1"},
        Row{{"product 3", "product 1"}, {"convolution 4", "convolution 2"}, "product 1"},
        Row{{"product 2", "product 1"}, {"convolution 1", "convolution 3"}, "product 1"}}) {
    CAPTURE(row.best);
    Case both(row.products, row.convolutions, timed);
    both.plan();
    CHECK(both.log.run.size() == 4);
    CHECK(both.choice() == row.best + " | 1.0000 ms, the best of 4");
    Case later({"product 7"}, {"convolution 7"}, timed);
    later.vendor.use_choices(both.vendor.choices());
    later.plan();
    CHECK(later.run());
    CHECK(later.log.run == std::vector<std::string>{row.best});
    CHECK(later.vendor.choices() == both.vendor.choices());
  }

  Case crowded({}, {"convolution 3", "convolution 2"}, timed);
  crowded.no_memory = true;
  crowded.plan();
  CHECK(crowded.choice() ==
        "convolution 3 | the heuristic's first, not timed: too little memory | product: nothing "
        "proposed");
}

TEST_CASE("cuda dispatch: what fails is left out, and the line says why") {
  Case making({"product breaks"}, {"convolution breaks", "convolution 7"});
  making.plan();
  CHECK(making.choice() ==
        "convolution 7 | the heuristic's first, not timed | product: cuda: product breaks | "
        "convolution: cuda: convolution breaks");

  Case asking({"product mute"}, {"convolution 7"});
  asking.plan();
  CHECK(asking.choice() ==
        "convolution 7 | the heuristic's first, not timed | product: cuda: product can't be asked");

  Case running({"product stumbles"}, {"convolution stumbles", "convolution 7"}, timed);
  running.plan();
  CHECK(running.choice() ==
        "convolution 7 | 7.0000 ms, the best of 1 | product: cuda: product stumbles stumbled at "
        "once | convolution: cuda: convolution stumbles stumbled at once");
  CHECK(running.run());
  CHECK(running.log.run.back() == "convolution 7");

  Case all({"product stumbles"}, {"convolution breaks", "convolution stumbles"}, timed);
  CHECK(all.plan() == 0);
  CHECK(!all.run());
  CHECK(all.choice() ==
        "plain | product: cuda: product stumbles stumbled at once | convolution: cuda: convolution "
        "breaks | cuda: convolution stumbles stumbled at once");

  Case clockless({}, {"convolution 7"}, timed);
  clockless.no_clock = true;
  CHECK(clockless.plan() == 0);
  CHECK(clockless.choice() == "plain | product: nothing proposed | convolution: cuda: no clock");
}

TEST_CASE("cuda dispatch: a lost device and our own mistakes are errors, and no choice") {
  Case lost({}, {"convolution kills", "convolution 7"}, timed);
  CHECK(has(error_of(ErrorKind::device, [&] { lost.plan(); }), "took the device along"));
  CHECK(Choices::parse(lost.vendor.choices()).all().empty());
  Case ours({}, {"convolution wrong", "convolution 7"});
  CHECK(has(error_of(ErrorKind::usage, [&] { ours.plan(); }), "convolution wrong"));
}

TEST_CASE("cuda dispatch: choices that come after the first plan hold from the next one on") {
  Case c({}, {"convolution 1"});
  c.plan();
  c.vendor.use_choices(c.vendor.choices());
  c.vendor.use_choices(c.with("convolution 1 | as before"));
  CHECK(c.plan() == 1000 + 256);
  CHECK(c.log.made == std::vector<std::string>{"convolution 1"});

  c.vendor.use_choices(c.with("convolution 2"));
  c.run();
  CHECK(c.log.run.back() == "convolution 1");
  CHECK(c.plan() == 1000 + 256);
  c.run();
  CHECK(c.log.run.back() == "convolution 2");
  CHECK(c.choice() == "convolution 2");

  // Who was told of less workspace is not given more to write to.
  c.vendor.use_choices(c.with("convolution large"));
  const std::string text = error_of(ErrorKind::usage, [&] { c.plan(); });
  CHECK(has(text, "\"convolution large\" for " + c.key() + " needs 2256 bytes of workspace"));
  CHECK(has(text, "has 1256: open the GPU anew"));
  // And who was told of more keeps it.
  c.vendor.use_choices(c.with("plain"));
  CHECK(c.plan() == 1000 + 256);
  CHECK(!c.run());
  c.vendor.use_choices(c.with("convolution 2"));
  CHECK(c.plan() == 1000 + 256);
  CHECK(c.run());
}

}  // namespace fulmar::test
