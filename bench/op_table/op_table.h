#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "engine/tape.h"

// The op table: every op of the engine with the shapes and attributes that have gone wrong before
// somewhere, and the sizes at which it is timed. One table drives parity between devices, finite
// differences and benchmarks.
namespace fulmar::op_table {

// A tensor that a case is given: name on the tape, kind, values.
struct Operand {
  std::string name;
  ValueInfo info;
  std::vector<double> values;    // of reals and indices; reals are exact in float
  std::vector<std::byte> bytes;  // of role source
  bool differentiable = false;
  bool updated = false;  // the op writes it in place
  // Gives element i, where all are drawn alike. Then `values` (or `bytes`) may be empty until
  // somebody wants them: large operands of benchmarks never list them.
  std::function<double(int64_t)> draw{};
};

// Drawn operands, activations: values depend on the operand's name, shape and range alone.
Operand real(const std::string& name, const Shape& shape, double low = -1, double high = 1);
// |value| in [least, most], either sign: for functions with a kink or a pole at 0.
Operand off_zero(const std::string& name, const Shape& shape, double least = 0.1, double most = 2);
// Whole numbers in [0, classes), u8 or i32.
Operand indices(const std::string& name, const Shape& shape, int64_t classes,
                DType type = DType::i32);
// The same as a parameter.
Operand weight(const std::string& name, const Shape& shape, double low = -1, double high = 1);
Operand listed(Operand operand);  // with its values, drawn where there are none yet

// All values at least 0.02 apart, in random order: no window has two maxima.
Operand distinct(const std::string& name, const Shape& shape);
Operand given(const std::string& name, const Shape& shape, std::vector<double> values);
template <class T>
Operand records(const std::string& name, const Shape& shape, DType type,
                std::span<const T> values) {
  Operand operand{name, {shape, Role::source, type}, {}, {}};
  const auto bytes = std::as_bytes(values);
  operand.bytes.assign(bytes.begin(), bytes.end());
  return operand;
}
Operand in_role(Role role, Operand operand);
Operand constant_of(Operand operand);  // not differentiated
Operand state_of(Operand operand);     // not differentiated, and written by the op

using Build = std::function<std::vector<Val>(Tape&, std::span<const Val>)>;

struct Case {
  std::string op;    // as the builder is called
  std::string what;  // which shape or attribute
  std::vector<Operand> operands;
  // Records the op. The first output is what is differentiated; ops without outputs give none.
  Build build;

  // Bound for a float32 device against `reference`, by norm of a tensor; see default_tolerance.
  double tolerance;
  // Operands by which the gradient can't be differentiated again; grad must say so by an error.
  std::vector<std::string> once_only{};
  // No finite differences: too large (there to pass the edges of blocked and threaded kernels), or
  // at a kink.
  bool parity_only = false;
  // Results ("output 0", "d x") whose every element is compared too, relative to itself: small ones
  // vanish beside large ones in a norm.
  std::vector<std::string> elementwise{};

  // What part of the first operand the op must read: less than 1 for a window with gaps, a crop.
  double reads = 1;

  std::string name() const { return op + " (" + what + ")"; }
};

// Each result is a sum of at most a few hundred products of rounded numbers of order 1, or a few
// operations of at most 2 ulp each. With u = 2^-24 = 6e-8, random rounding errors of n products
// give about sqrt(n) u of the norm: 1e-6 at n = 300. A kernel that rounds correctly stays under it.
constexpr double default_tolerance = 1e-6;

const std::vector<Case>& op_cases();

// Runs of ops that fuse, at the shapes of their kernels' edges. `op` names the fused op that the
// run must become where a device has it.
const std::vector<Case>& fused_cases();

// A window's op, a norm, a resize or a sub whose operands repeat, of random shape and attributes; a
// seed gives one case.
Case random_case(uint64_t seed);

// The polar-low network at a size, so that kernels are timed on the shapes that it gives them.
struct NetworkSize {
  int64_t batch = 16, crop = 1024;
};
// A block of it: its two pointwise products and its skip go from `inputs` channels at side^2
// pixels to `width`.
struct Block {
  int number;
  int64_t side, inputs, width;
};
std::vector<Block> blocks(const NetworkSize& size);
// Shape of a block's activations.
Shape block_shape(const NetworkSize& size, const Block& block);

// Every op at the network's sizes, and those that it has not at some general ones. Operands are not
// listed.
std::vector<Case> benchmark_cases(const NetworkSize& size);

// Its parts, one file each.
void add_pointwise_cases(std::vector<Case>& cases);
void add_shape_cases(std::vector<Case>& cases);
void add_conv_cases(std::vector<Case>& cases);
void add_pool_cases(std::vector<Case>& cases);
void add_norm_cases(std::vector<Case>& cases);
void add_loss_cases(std::vector<Case>& cases);
void add_training_cases(std::vector<Case>& cases);
void add_warp_cases(std::vector<Case>& cases);

void add_pointwise_benchmarks(const NetworkSize& size, std::vector<Case>& cases);
void add_shape_benchmarks(const NetworkSize& size, std::vector<Case>& cases);
void add_conv_benchmarks(const NetworkSize& size, std::vector<Case>& cases);
void add_pool_benchmarks(const NetworkSize& size, std::vector<Case>& cases);
void add_norm_benchmarks(const NetworkSize& size, std::vector<Case>& cases);
void add_loss_benchmarks(const NetworkSize& size, std::vector<Case>& cases);
void add_training_benchmarks(const NetworkSize& size, std::vector<Case>& cases);
void add_warp_benchmarks(const NetworkSize& size, std::vector<Case>& cases);

}  // namespace fulmar::op_table
