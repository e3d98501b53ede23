#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/fuse/fuse.h"
#include "engine/fuse/pointwise_chain.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "tests/support/count_ops.h"
#include "tests/support/instruction_sets.h"

namespace fulmar::test {
namespace {

// A tape of pointwise ops out of random operands, and what is wanted of it.
struct Chain {
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  std::map<Val, std::vector<double>> values;
  std::vector<Val> outputs, buffers;
  std::mt19937_64 random{7};

  Val operand(const Shape& shape, Role role = Role::activation) {
    const Val v = ops::input(*tape, "v" + std::to_string(values.size()), {shape, role});
    for (int64_t i = 0; i < shape.elements(); i++)
      values[v].push_back(static_cast<float>(std::uniform_real_distribution<>(0.2, 2)(random)));
    return v;
  }
  Val buffer(const Shape& shape) {
    buffers.push_back(operand(shape, Role::statistic));
    return buffers.back();
  }

  // Outputs, then what buffers hold behind two runs.
  std::vector<std::vector<double>> run(Context& context, bool fused, const char* device = "cpu",
                                       std::shared_ptr<Tape>* fused_tape = nullptr) const {
    Device& on = context.device(device);
    std::vector<Val> keep = outputs;
    for (const auto& [v, numbers] : values) keep.push_back(v);
    Rewritten f = fuse(*tape, on, keep, {}, FuseFor::pointwise);
    if (fused_tape) *fused_tape = f.tape;
    const auto now = [&](Val v) { return fused ? f.now(v) : v; };
    std::vector<Val> wanted;
    for (const Val v : outputs) wanted.push_back(now(v));
    Session session(context, on, fused ? f.tape : tape, wanted);
    for (const auto& [v, numbers] : values) session.set(now(v), std::span(numbers));
    session.run();
    session.run();
    std::vector<std::vector<double>> all;
    for (const Val v : wanted) all.push_back(session.read(v));
    for (const Val v : buffers) all.push_back(session.read(now(v)));
    return all;
  }
};

// Points between two pictures, and a sum that gives back what rounding took: the ops of integrated
// gradients.
Chain accumulating(const Shape& shape) {
  Chain c;
  Tape& t = *c.tape;
  const Val sample = c.operand(shape), baseline = c.operand(shape), share = c.operand({1, 1, 1, 1});
  const Val x =
      ops::add(t, ops::mul(t, share, sample), ops::mul(t, ops::affine(t, share, -1, 1), baseline));
  const Val factors = c.operand({shape.images(), 1, 1, 1}),
            channels = c.operand({shape.channels()});
  const Val sum = c.buffer(shape), lost = c.buffer(shape);
  const Val weighted = ops::mul(t, ops::mul(t, x, factors), channels);
  const Val part = ops::as_role(t, weighted, Role::statistic);
  const Val added = ops::sub(t, part, lost), after = ops::add(t, sum, added);
  ops::store(t, ops::sub(t, ops::sub(t, after, sum), added), lost);
  ops::store(t, after, sum);
  c.outputs = {x};
  return c;
}

int count_chains(const Tape& tape) { return count_ops(tape, "pointwise_chain"); }

const Shape shapes[] = {{1, 37, 29, 3},   {2, 5, 7, 1},    {1, 1, 1, 1},   {3, 1, 600, 2},
                        {1, 200, 300, 3}, {2, 16, 16, 17}, {1, 700, 1, 5}, {4, 64, 64, 8}};

}  // namespace

TEST_CASE("pointwise chain: one pass gives the bits of the ops that it replaces") {
  for_each_instruction_set([] {
    Context context;
    for (const Shape& shape : shapes) {
      CAPTURE(shape.to_string());
      const Chain c = accumulating(shape);
      std::shared_ptr<Tape> tape;
      const auto fused = c.run(context, true, "cpu", &tape);
      CHECK(count_chains(*tape) == 1);
      CHECK(count_ops(*tape, "store") == 0);
      CHECK(fused == c.run(context, false));
    }
  });
}

TEST_CASE("pointwise chain: the bits are the same for any number of threads") {
  for (const Shape& shape : shapes) {
    CAPTURE(shape.to_string());
    const Chain c = accumulating(shape);
    Context one({1, {}});
    const auto of_one = c.run(one, true);
    for (const int threads : {2, 3, 7}) {
      Context some({threads, {}});
      CHECK(c.run(some, true) == of_one);
    }
  }
}

TEST_CASE("pointwise chain: agrees with float64") {
  Context context;
  for (const Shape& shape : shapes) {
    const Chain c = accumulating(shape);
    const auto exact = c.run(context, false, "reference"), fused = c.run(context, true);
    for (size_t v = 0; v < exact.size() - 1; v++)  // the last buffer is `lost`, which is rounding
      for (size_t i = 0; i < exact[v].size(); i++) {
        if (v == 2) continue;
        CHECK(fused[v][i] == doctest::Approx(exact[v][i]).epsilon(1e-5));
      }
  }
}

TEST_CASE("pointwise chain: what it stands for records itself, and can be differentiated") {
  Context context;
  Chain c;
  Tape& t = *c.tape;
  const Val x = c.operand({2, 3, 5, 4});
  const Val y = ops::mul(t, ops::tanh(t, x), ops::affine(t, x, 2, 1));
  const Rewritten f = fuse(t, context.device("cpu"), std::vector{x, y}, {}, FuseFor::pointwise);
  REQUIRE(count_chains(*f.tape) == 1);
  const Val before = grad(t, y, x), after = grad(*f.tape, f.now(y), f.now(x));
  const auto read = [&](std::shared_ptr<Tape> tape, Val leaf, Val v) {
    Session session(context, context.device("cpu"), std::move(tape), std::vector{v});
    session.set(leaf, std::span(c.values.at(x)));
    session.run();
    return session.read(v);
  };
  CHECK(read(c.tape, x, before) == read(f.tape, f.now(x), after));
}

TEST_CASE("pointwise chain: who reads a value before the chain's end, or a buffer on the way") {
  Context context;
  Chain c;
  Tape& t = *c.tape;
  const Shape shape{1, 8, 9, 3};
  const Val x = c.operand(shape), sum = c.buffer(shape);
  const Val a = ops::affine(t, x, 2, 1), b = ops::exp(t, a);
  const Val total = ops::sum_all(t, b);  // an op of another kind between two chains
  const auto kept = [&](Val v) { return ops::as_role(t, v, Role::statistic); };
  const Val d = ops::mul(t, b, total), e = ops::add(t, d, sum);
  ops::store(t, kept(e), sum);
  const Val g = ops::add(t, ops::mul(t, e, sum), x);  // reads the buffer behind the store
  ops::store(t, kept(ops::sub(t, g, d)), sum);
  c.outputs = {g, total};
  std::shared_ptr<Tape> tape;
  CHECK(c.run(context, true, "cpu", &tape) == c.run(context, false));
  CHECK(count_chains(*tape) >= 2);
}

TEST_CASE("pointwise chain: a device without the kernel keeps its ops") {
  Context context;
  const Chain c = accumulating({1, 4, 5, 3});
  std::shared_ptr<Tape> tape;
  CHECK(c.run(context, true, "reference", &tape) == c.run(context, false, "reference"));
  CHECK(count_chains(*tape) == 0);
}

TEST_CASE("pointwise chain: the last op reads what the chain has stored") {
  Context context;
  Chain c;
  Tape& t = *c.tape;
  const Shape shape{1, 5, 7, 3};
  const Val x = c.operand(shape, Role::statistic), b = c.buffer(shape);
  const Val a = ops::affine(t, x, 2, 0);
  ops::store(t, a, b);
  c.outputs = {ops::mul(t, a, b)};
  CHECK(c.run(context, true) == c.run(context, false));
}

TEST_CASE("pointwise chain: nobody wants the last of its values") {
  Context context;
  for (const bool stored : {false, true}) {
    CAPTURE(stored);
    Chain c;
    Tape& t = *c.tape;
    const Shape shape{1, 8, 9, 3};
    const Val x = c.operand(shape), b = c.operand(shape);
    const Val a = ops::affine(t, x, 2, 1);
    if (stored) {
      ops::store(t, a, b);
      c.buffers = {b};
    } else {
      c.outputs = {a};
    }
    ops::mul(t, a, ops::sum_all(t, ops::sum_all(t, x)));
    c.outputs.push_back(ops::affine(t, x, 3, 0));
    CHECK(c.run(context, true) == c.run(context, false));
  }
}

}  // namespace fulmar::test
