#include "engine/ops/pointwise.h"

#include <array>
#include <cstring>

#include "engine/ops.h"
#include "engine/shape_rules.h"
#include "kernels/pointwise.h"

namespace fulmar::ops {
namespace {

using pointwise::Saved;

namespace recorded {

// A value on a tape, or a number, as an operand of the functors: the formula of a derivative
// records itself as ordinary ops, so that it can be differentiated again.
struct Recorded {
  Tape* tape = nullptr;
  Val val;
  double number = 0;

  Recorded(Tape& t, Val v) : tape(&t), val(v) {}
  explicit Recorded(double n) : number(n) {}
  bool is_number() const { return tape == nullptr; }
};

Val as_value(const Recorded& x, const Recorded& like) {
  if (!x.is_number()) return x.val;
  const ValueInfo& info = like.tape->info(like.val);
  return constant(*like.tape, info.shape, x.number, info.role);
}

Recorded binary(std::string_view functor, const Recorded& a, const Recorded& b) {
  const Recorded& on_tape = a.is_number() ? b : a;
  const std::array<Val, 2> x{as_value(a, on_tape), as_value(b, on_tape)};
  return Recorded(*on_tape.tape, ops::pointwise(*on_tape.tape, functor, x));
}
Recorded unary(std::string_view functor, const Recorded& x) {
  return Recorded(*x.tape, ops::pointwise(*x.tape, functor, std::array<Val, 1>{x.val}));
}
Recorded scaled(const Recorded& x, double alpha, double beta) {
  return Recorded(*x.tape, affine(*x.tape, x.val, alpha, beta));
}

Recorded operator+(const Recorded& a, const Recorded& b) {
  if (a.is_number() && b.is_number()) return Recorded(a.number + b.number);
  if (a.is_number()) return scaled(b, 1, a.number);
  if (b.is_number()) return scaled(a, 1, b.number);
  return binary("add", a, b);
}
Recorded operator-(const Recorded& a) {
  return a.is_number() ? Recorded(-a.number) : scaled(a, -1, 0);
}
Recorded operator-(const Recorded& a, const Recorded& b) {
  if (a.is_number() || b.is_number()) return a + -b;
  return binary("sub", a, b);
}
Recorded operator*(const Recorded& a, const Recorded& b) {
  if (a.is_number() && b.is_number()) return Recorded(a.number * b.number);
  if (a.is_number()) return scaled(b, a.number, 0);
  if (b.is_number()) return scaled(a, b.number, 0);
  return binary("mul", a, b);
}
Recorded operator/(const Recorded& a, const Recorded& b) {
  if (b.is_number()) return a * Recorded(1 / b.number);
  return binary("div", a, b);
}
Recorded gate(const Recorded& x, const Recorded& a) { return binary("gate", x, a); }
Recorded erf(const Recorded& x) { return unary("erf", x); }
Recorded erfc(const Recorded& x) { return Recorded(1) - erf(x); }
Recorded exp(const Recorded& x) { return unary("exp", x); }

namespace functors {
#define FULMAR_INLINE inline
#include "kernels/pointwise_functors.inc"
#undef FULMAR_INLINE
}  // namespace functors

}  // namespace recorded

using recorded::Recorded;

struct Functor {
  const char* name;
  int arity;
  Saved saved;
  Recorded (*df)(Recorded saved, Recorded dy, Recorded alpha, Recorded beta);
};

template <class F>
constexpr Functor describe() {
  if constexpr (F::arity == 1)
    return {F::name, 1, F::saved,
            [](Recorded s, Recorded dy, Recorded a, Recorded b) { return F::df(s, dy, a, b); }};
  else
    return {F::name, F::arity, Saved::none, nullptr};
}

#define FULMAR_DESCRIBE(Name) describe<recorded::functors::Name>(),
constexpr Functor functor_table[] = {FULMAR_POINTWISE(FULMAR_DESCRIBE)};
#undef FULMAR_DESCRIBE

int functor_index(std::string_view name) {
  for (size_t i = 0; i < std::size(functor_table); i++)
    if (name == functor_table[i].name) return static_cast<int>(i);
  usage_error("there is no pointwise function '" + std::string(name) + "'");
}

std::vector<Val> binary_vjp(const Vjp& v, std::string_view f) {
  Tape& t = v.tape;
  const Val a = v.x[0], b = v.x[1], y = v.y[0], dy = v.dy[0];
  const auto pick = [&](auto da, auto db) {
    return std::vector<Val>{v.wanted[0] ? da() : Val{}, v.wanted[1] ? db() : Val{}};
  };
  if (f == "add") return {dy, dy};
  if (f == "sub") return pick([&] { return dy; }, [&] { return affine(t, dy, -1, 0); });
  if (f == "mul") return pick([&] { return mul(t, dy, b); }, [&] { return mul(t, dy, a); });
  if (f == "gate") return pick([&] { return Val{}; }, [&] { return gate(t, a, dy); });
  if (f == "div")
    return pick([&] { return div(t, dy, b); },
                [&] { return affine(t, mul(t, dy, div(t, y, b)), -1, 0); });
  if (f == "div_no_nan")
    return pick([&] { return div_no_nan(t, dy, b); },
                [&] { return affine(t, mul(t, dy, div_no_nan(t, y, b)), -1, 0); });
  return {};
}

// The constants that a function uses are not told apart from those that it doesn't.
Attributes described(double alpha, double beta) {
  Attributes attributes;
  if (alpha != 0) attributes["alpha"] = alpha;
  if (beta != 0) attributes["beta"] = beta;
  return attributes;
}

// The shape that both broadcast to: extents equal, or 1 in one of them; aligned at the channels.
Shape common_shape(const Shape& a, const Shape& b) {
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape common = longer;
  for (int i = 0; i < shorter.rank(); i++) {
    int64_t& extent = common[longer.rank() - shorter.rank() + i];
    require(extent == shorter[i] || extent == 1 || shorter[i] == 1,
            "operands " + text(a) + " and " + text(b) + " don't fit together");
    if (extent == 1) extent = shorter[i];
  }
  return common;
}

}  // namespace

std::string_view Pointwise::name() const { return functor_table[functor].name; }

Attributes Pointwise::attributes() const { return described(alpha, beta); }

std::vector<ValueInfo> Pointwise::infer(std::span<const ValueInfo> x) const {
  const int arity = functor_table[functor].arity;
  require(static_cast<int>(x.size()) == arity,
          "takes " + text(arity) + " operands, " + text(std::ssize(x)) + " given");
  for (const ValueInfo& info : x) {
    require(info.is_real() && (info.role != Role::sum || functor == functor_Add),
            "takes float tensors");
    require_role(info, x[0].role, "an operand");
  }
  if (arity == 1) return {of_role(x[0].role, x[0].shape)};
  if (x[0].role == Role::sum) require_same(x[1], x[0].shape, "an operand");
  return {of_role(x[0].role, common_shape(x[0].shape, x[1].shape))};
}

std::vector<Val> Pointwise::vjp(const Vjp& v) const {
  const Functor& f = functor_table[functor];
  if (f.arity != 1) {
    std::vector<Val> d = binary_vjp(v, f.name);
    if (d.empty()) return Op::vjp(v);
    for (size_t i = 0; i < d.size(); i++) {
      const ValueInfo x = v.tape.info(v.x[i]);
      if (v.wanted[i] && d[i]) d[i] = sum(v.tape, d[i], x.shape, x.role);
    }
    return d;
  }
  const Val dy = v.dy[0];
  const Val saved = f.saved == Saved::input ? v.x[0] : f.saved == Saved::output ? v.y[0] : dy;
  return {v.tape.append(std::make_shared<PointwiseGrad>(functor, alpha, beta), {saved, dy})};
}

void Pointwise::run(Device& device, const RunArgs& args) const {
  device.backend().pointwise(device.stream(), functor, args.in, args.out[0], alpha, beta);
}

PointwiseGrad::PointwiseGrad(int number, double first, double second)
    : functor(number),
      alpha(first),
      beta(second),
      full_name(std::string(functor_table[number].name) + "_grad") {}

Attributes PointwiseGrad::attributes() const { return described(alpha, beta); }

std::vector<ValueInfo> PointwiseGrad::infer(std::span<const ValueInfo> x) const {
  require_same(x[1], x[0].shape, "dy");
  require_role(x[1], x[0].role, "dy");
  return {of_role(x[0].role, x[0].shape)};
}

std::vector<Val> PointwiseGrad::vjp(const Vjp& v) const {
  const Functor& f = functor_table[functor];
  // On copies of its own: dy may itself be computed from the saved value, or be the same one.
  const std::array<Val, 2> x{affine(v.tape, v.x[0], 1, 0), affine(v.tape, v.x[1], 1, 0)};
  const Recorded dx =
      f.df(Recorded(v.tape, x[0]), Recorded(v.tape, x[1]), Recorded(alpha), Recorded(beta));
  if (f.saved == Saved::none) return {Val{}, grad(v.tape, dx.val, x[1], v.dy[0])};
  return grad(v.tape, dx.val, x, v.dy[0]);
}

void PointwiseGrad::run(Device& device, const RunArgs& args) const {
  device.backend().pointwise_grad(device.stream(), functor, args.in[0], args.in[1], args.out[0],
                                  alpha, beta);
}

Val pointwise(Tape& tape, std::string_view functor, std::span<const Val> x, double alpha,
              double beta) {
  const int index = functor_index(functor);
  return tape.append(std::make_shared<Pointwise>(index, alpha, beta), in_one_role(tape, x));
}

Val add(Tape& tape, Val a, Val b) { return pointwise(tape, "add", std::array{a, b}); }
Val sub(Tape& tape, Val a, Val b) { return pointwise(tape, "sub", std::array{a, b}); }
Val mul(Tape& tape, Val a, Val b) { return pointwise(tape, "mul", std::array{a, b}); }
Val div(Tape& tape, Val a, Val b) { return pointwise(tape, "div", std::array{a, b}); }
Val div_no_nan(Tape& tape, Val a, Val b) { return pointwise(tape, "div_no_nan", std::array{a, b}); }
Val gate(Tape& tape, Val x, Val a) { return pointwise(tape, "gate", std::array{x, a}); }
Val affine(Tape& tape, Val x, double alpha, double beta) {
  return pointwise(tape, "affine", std::array{x}, alpha, beta);
}
Val relu(Tape& tape, Val x) { return pointwise(tape, "relu", std::array{x}); }
Val leaky_relu(Tape& tape, Val x, double alpha) {
  return pointwise(tape, "leaky_relu", std::array{x}, alpha);
}
Val prelu(Tape& tape, Val x, Val a) {
  return sub(tape, relu(tape, x), mul(tape, relu(tape, affine(tape, x, -1, 0)), a));
}
Val relu6(Tape& tape, Val x) { return pointwise(tape, "relu6", std::array{x}); }
Val elu(Tape& tape, Val x, double alpha) { return pointwise(tape, "elu", std::array{x}, alpha); }
Val selu(Tape& tape, Val x) { return pointwise(tape, "selu", std::array{x}); }
Val silu(Tape& tape, Val x) { return pointwise(tape, "silu", std::array{x}); }
Val gelu_tanh(Tape& tape, Val x) { return pointwise(tape, "gelu_tanh", std::array{x}); }
Val gelu(Tape& tape, Val x) { return pointwise(tape, "gelu", std::array{x}); }
Val erf(Tape& tape, Val x) { return pointwise(tape, "erf", std::array{x}); }
Val hard_sigmoid(Tape& tape, Val x, double slope, double offset) {
  return pointwise(tape, "hard_sigmoid", std::array{x}, slope, offset);
}
Val sigmoid(Tape& tape, Val x) { return pointwise(tape, "sigmoid", std::array{x}); }
Val tanh(Tape& tape, Val x) { return pointwise(tape, "tanh", std::array{x}); }
Val softplus(Tape& tape, Val x) { return pointwise(tape, "softplus", std::array{x}); }
Val exp(Tape& tape, Val x) { return pointwise(tape, "exp", std::array{x}); }
Val log(Tape& tape, Val x) { return pointwise(tape, "log", std::array{x}); }
Val sqrt(Tape& tape, Val x) { return pointwise(tape, "sqrt", std::array{x}); }
Val square(Tape& tape, Val x) { return pointwise(tape, "square", std::array{x}); }
Val abs(Tape& tape, Val x) { return pointwise(tape, "abs", std::array{x}); }

}  // namespace fulmar::ops
