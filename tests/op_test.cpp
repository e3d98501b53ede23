#include <doctest/doctest.h>

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <typeinfo>
#include <vector>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/op_check.h"
#include "tests/support/functors.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/paths.h"

namespace fulmar::test {
namespace {

Context& context() {
  static Context shared;
  return shared;
}

// body(name of device), once for each float32 device that this build can run on, the CPU once for
// each of its instruction sets.
template <class Body>
void for_each_fast_device(const Body& body) {
  for_each_instruction_set([&] { body("cpu"); });
}

template <class Body>
void for_each_device(const Body& body) {
  body("reference");
  for_each_fast_device(body);
}

// "fulmar::ops::Conv"
std::string readable(const std::type_info& type) {
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, nullptr), std::free);
  return name.get();
}

// body(op) for each node that the rows and their gradients record.
template <class Body>
void for_each_recorded_op(const Body& body) {
  for (const Case& c : op_cases()) {
    const Recording r = record(c, true);
    for (int n = 0; n < r.tape->size(); n++) body(*r.tape->node(n).op);
  }
}

bool has_gradient(const Case& c) {
  return std::any_of(c.operands.begin(), c.operands.end(),
                     [](const Operand& o) { return o.differentiable; });
}

}  // namespace

TEST_CASE("ops: every pointwise function and its gradient has rows") {
  std::set<std::string, std::less<>> recorded;
  for_each_recorded_op([&](const Op& op) { recorded.emplace(op.name()); });
  for (const FunctorTraits& f : functor_traits()) {
    CAPTURE(f.name);
    CHECK(recorded.count(f.name) == 1);
    if (f.arity == 1) CHECK(recorded.count(std::string(f.name) + "_grad") == 1);
  }
}

TEST_CASE("ops: every op that engine/ops declares is reached by a row") {
  std::set<std::string> reached;
  for_each_recorded_op([&](const Op& op) { reached.insert(readable(typeid(op))); });
  const std::regex declaration("(?:struct|class) FULMAR_API (\\w+) final : ");
  int declared = 0;
  for (const auto& file : std::filesystem::directory_iterator(golden("../../engine/ops"))) {
    if (file.path().extension() != ".h") continue;
    const std::string header = read_file(file.path().string(), 1 << 20);
    for (std::sregex_iterator at(header.begin(), header.end(), declaration), end; at != end; ++at) {
      declared++;
      CAPTURE((*at)[1].str());
      CHECK(reached.count("fulmar::ops::" + (*at)[1].str()) == 1);
    }
  }
  CHECK(declared > 25);
}

TEST_CASE("ops: every float32 device agrees with the reference, forward and gradients") {
  for_each_fast_device([](const char* device) {
    for (const Case& c : op_cases()) {
      const Complaints complaints = check_parity(c, context(), context().device(device));
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
  });
}

TEST_CASE("ops: random shapes and windows agree with the reference, and stay in their memory") {
  for_each_fast_device([](const char* device) {
    for (uint64_t seed = 0; seed < 400; seed++) {
      const Case c = random_case(seed);
      Complaints complaints = check_parity(c, context(), context().device(device));
      const Complaints guards = check_guards(c, context(), context().device(device));
      complaints.insert(complaints.end(), guards.begin(), guards.end());
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
  });
}

TEST_CASE("ops: an operand that repeats has the bits of one that is written out, gradients too") {
  const Shape y{2, 3, 37, 24};
  const Shape pairs[][2] = {
      {y, {1}}, {{24}, y}, {y, {2, 1, 1, 24}}, {{2, 3, 37, 1}, y}, {{2, 1, 1, 24}, {1, 3, 37, 1}}};
  for_each_fast_device([&](const char* device) {
    for (const FunctorTraits& f : functor_traits())
      for (const auto& shapes : pairs) {
        if (f.arity != 2) continue;
        const auto results = [&](bool written_out) {
          const Build build = [&](Tape& t, std::span<const Val> x) {
            std::vector<Val> operands(x.begin(), x.end());
            if (written_out)
              for (Val& operand : operands) operand = ops::broadcast(t, operand, y);
            return std::vector<Val>{ops::pointwise(t, f.name, operands)};
          };
          const Case c{f.name,
                       "repeats",
                       {listed(off_zero("a", shapes[0])), listed(off_zero("b", shapes[1]))},
                       build,
                       default_tolerance};
          return run(record(c, true), context(), context().device(device));
        };
        INFO(std::string(device), ": ", std::string(f.name), " ", shapes[0].to_string(), " ",
             shapes[1].to_string());
        const std::vector<Result> found = results(false), expected = results(true);
        REQUIRE(found.size() == 3);
        for (size_t i = 0; i < found.size(); i++) CHECK(same_values(found[i], expected[i]));
      }
  });
}

TEST_CASE("ops: a pooling window without a pixel is refused") {
  Tape tape;
  const Val x = ops::input(tape, "x", {{1, 4, 1, 2}});
  // Dilation lets the taps of the only column straddle the picture.
  const Window straddling{{1, 1}, {1, 3}, {0, 0, 2, 2}}, padded{{1, 1}, {1, 1}, {2, 0, 0, 0}};
  CHECK_THROWS_WITH_AS(ops::max_pool(tape, x, {1, 2}, straddling),
                       doctest::Contains("column 0 of the output has no pixel"), Error);
  CHECK_THROWS_WITH_AS(ops::max_pool(tape, x, {2, 1}, padded),
                       doctest::Contains("row 0 of the output has no pixel"), Error);
}

TEST_CASE("ops: labels of pixels of another kind or shape are refused") {
  Tape tape;
  const auto index = [&](const char* name, const Shape& shape, DType type = DType::u8) {
    return ops::input(tape, name, {shape, Role::index, type});
  };
  const auto source = [&](const char* name, const Shape& shape, DType type) {
    return ops::input(tape, name, {shape, Role::source, type});
  };
  const Val logits = ops::input(tape, "logits", {{1, 4, 4, 3}});
  const Val map = index("map", {1, 4, 4, 1}), other = index("other", {1, 4, 5, 1});
  const Val wide = index("wide", {1, 4, 4, 1}, DType::u16);
  CHECK_THROWS_WITH_AS(ops::softmax_cross_entropy(tape, logits, wide),
                       doctest::Contains("class indices must be u8 or i32"), Error);
  CHECK_THROWS_WITH_AS(ops::softmax_cross_entropy(tape, logits, other),
                       doctest::Contains("labels is [1,4,5,1], [1,4,4,1] expected"), Error);
  CHECK_THROWS_WITH_AS(ops::confusion(tape, logits, map, 3),
                       doctest::Contains("takes class indices, u8 or i32"), Error);
  CHECK_THROWS_WITH_AS(ops::confusion(tape, map, wide, 3),
                       doctest::Contains("takes class indices, u8 or i32"), Error);
  CHECK_THROWS_WITH_AS(ops::confusion(tape, map, other, 3),
                       doctest::Contains("labels is [1,4,5,1], [1,4,4,1] expected"), Error);
  CHECK_THROWS_WITH_AS(ops::confusion(tape, map, map, 0), doctest::Contains("0 classes"), Error);
  CHECK_THROWS_WITH_AS(ops::confusion(tape, map, map, 1025),
                       doctest::Contains("1025 classes, 1 to 1024 are possible"), Error);
  const Val pair = index("pair", {1, 4, 4, 2});
  CHECK_THROWS_WITH_AS(ops::confusion(tape, pair, pair, 3),
                       doctest::Contains("predicted must be [N,H,W,1]"), Error);

  const Val samples = source("samples", {1, static_cast<int64_t>(sizeof(WarpSample))}, DType::u8);
  const auto refused = [&](Val labels, int64_t height, const char* why) {
    CHECK_THROWS_WITH_AS(ops::warp_labels(tape, labels, samples, height, 4, 255),
                         doctest::Contains(why), Error);
  };
  const Val labels = source("labels", {1, 4, 4, 1}, DType::u8);
  refused(labels, 0, "the output has no pixels");
  refused(source("u16", {1, 4, 4, 1}, DType::u16), 4, "labels must be a source u8 [N,H,W,1]");
  refused(source("rgb", {1, 4, 4, 3}, DType::u8), 4, "labels must be a source u8 [N,H,W,1]");
  refused(map, 4, "labels must be a source u8 [N,H,W,1]");
  refused(source("two", {2, 4, 4, 1}, DType::u8), 4, "one WarpSample for each image");
  const Val y = ops::warp_labels(tape, labels, samples, 2, 3, 255);
  CHECK(tape.info(y) == ValueInfo{{1, 2, 3, 1}, Role::index, DType::u8});
  const Val counts = ops::confusion(tape, map, map, 7);
  CHECK(tape.info(counts) == ValueInfo{{7, 7}, Role::sum, DType::f64});
}

TEST_CASE("ops: gradients are the slopes that finite differences find") {
  for (const Case& c : op_cases()) {
    if (c.parity_only) continue;
    const Complaints complaints = check_gradients(c, context(), context().device("reference"));
    CHECK_MESSAGE(complaints.empty(), text(complaints));
  }
}

TEST_CASE("ops: gradients of gradients are right, or refused by name") {
  for (const Case& c : op_cases()) {
    if (c.parity_only || !has_gradient(c)) continue;
    for (size_t i = 0; i < c.operands.size(); i++) {
      if (!c.operands[i].differentiable) continue;
      const Case second = gradient_case(c, i);
      CAPTURE(second.name());
      const bool once = std::find(c.once_only.begin(), c.once_only.end(), c.operands[i].name) !=
                        c.once_only.end();
      if (!once) {
        const Complaints complaints =
            check_gradients(second, context(), context().device("reference"));
        CHECK_MESSAGE(complaints.empty(), text(complaints));
      } else {
        CHECK_THROWS_WITH_AS(record(second, true), doctest::Contains("no gradient rule"), Error);
      }
    }
  }
}

TEST_CASE("ops: no kernel writes outside its outputs or depends on what lies there") {
  for_each_device([](const char* device) {
    for (const Case& c : op_cases()) {
      const Complaints complaints = check_guards(c, context(), context().device(device));
      CHECK_MESSAGE(complaints.empty(), text(complaints));
    }
  });
}

TEST_CASE("ops: results have the same bits with any number of threads") {
  Context::Options one_thread, three_threads;
  one_thread.threads = 1, three_threads.threads = 3;
  Context one(one_thread), three(three_threads);
  for_each_device([&](const char* device) {
    for (const Case& c : op_cases()) {
      const Recording recording = record(c, true);
      const std::vector<Result> a = run(recording, one, one.device(device));
      const std::vector<Result> b = run(recording, three, three.device(device));
      for (size_t i = 0; i < a.size(); i++) {
        INFO(device, ": ", c.name(), ": ", a[i].name);
        CHECK(same_values(a[i], b[i]));
      }
    }
  });
}

}  // namespace fulmar::test
