#include <doctest/doctest.h>

#include <functional>

#include "kernels/cuda/vendor.h"
#include "tests/support/error_of.h"

// Which algorithm a problem is given: Vendor with libraries that only say what they would do, so
// without a GPU and without timing.
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
  }

 private:
  Log* log_;
  std::string text_;
  size_t bytes_;
};

// Proposes the texts of a list; "NAME none" is not supported, "NAME huge" wants too much memory.
class Proposing : public DenseLibrary {
 public:
  Proposing(Log& log, std::string name, std::vector<std::string> texts)
      : log_(&log), name_(std::move(name)), texts_(std::move(texts)) {}
  std::string name() const override { return name_; }
  std::vector<std::string> proposals(const DenseProblem&, std::string& why_not) override {
    if (texts_.empty()) why_not = "nothing proposed";
    return texts_;
  }
  std::unique_ptr<DenseAlgorithm> make(const DenseProblem&, const std::string& text,
                                       std::string& why_not) override {
    if (text == name_ + " none") {
      why_not = "no such engine";
      return nullptr;
    }
    log_->made.push_back(text);
    return std::make_unique<Noted>(*log_, text, text == name_ + " huge" ? size_t{2} << 30 : 1000);
  }

 private:
  Log* log_;
  std::string name_;
  std::vector<std::string> texts_;
};

struct Case {
  Log log;
  Vendor vendor;

  Case(std::vector<std::string> products, std::vector<std::string> convolutions,
       const CudaOptions& options = {Precision::fp32, false, false},
       const CudaDevice& device = {"A GPU", 9, 0, 132, 0, true})
      : vendor(device, options, {}, libraries(products, convolutions)) {}

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

  static DenseProblem problem() {
    return {
        Product::forward, Precision::fp32, {2, 4, 4, 3}, {3, 3, 3, 8}, {2, 2, 2, 8}, {}, 1, false};
  }

 private:
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
  const auto with = [&](const std::string& choice) {
    Choices choices;
    choices.set(key, choice);
    return choices.text();
  };
  CHECK(has(error_of(ErrorKind::usage, [&] { given.vendor.use_choices(with("plain")); }),
            "before anything is planned"));
  CHECK(has(error_of(ErrorKind::file, [&] { Case({}, {}).vendor.use_choices("nonsense"); }),
            "cuda choices: line 1"));
  Case refused({}, {"convolution 1"});
  refused.vendor.use_choices(with("convolution none"));
  CHECK(
      has(error_of(ErrorKind::device, [&] { refused.plan(); }),
          "the stored choice \"convolution none\" for " + key + " can't be used: no such engine"));
  Case unknown({}, {"convolution 1"});
  unknown.vendor.use_choices(with("elsewhere 1"));
  CHECK(has(error_of(ErrorKind::file, [&] { unknown.plan(); }), "of no library that there is"));
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
}

}  // namespace fulmar::test
