#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tests/op_check.h"

// The checks of the op table, checked: each kernel of the backend table is damaged in turn, and
// some case must complain.
namespace fulmar::test {
namespace {

template <class T>
void spoil_as(const View& out) {
  T& value = out.as<T>()[0];
  if constexpr (std::is_integral_v<T>)
    value ^= 1;
  else
    value += static_cast<T>(1e-3) * (1 + std::abs(value));
}

void spoil(const View& out) {
  if (out.shape.elements() == 0) return;
  switch (out.type) {
    case DType::u8:
      return spoil_as<uint8_t>(out);
    case DType::u16:
      return spoil_as<uint16_t>(out);
    case DType::i32:
      return spoil_as<int32_t>(out);
    case DType::f32:
      return spoil_as<float>(out);
    case DType::f64:
      return spoil_as<double>(out);
    case DType::bf16:
      FAIL("the reference has no bf16");
  }
}

// The kernel `Member` of the reference; then its argument `Out` (the stream is 0) is spoiled.
template <auto Member, size_t Out>
struct Damage;
template <class... Args, void (*Backend::*Member)(Args...), size_t Out>
struct Damage<Member, Out> {
  static void kernel(Args... args) {
    (reference_backend().*Member)(args...);
    spoil(std::get<Out>(std::tie(args...)));
  }
};

struct Mutant {
  std::string name;
  std::function<void(Backend&)> apply;
  bool is_gradient = false;
};

// A mutant for each argument that a kernel writes.
template <auto Member, size_t... Outs>
void add_mutants(std::vector<Mutant>& mutants, const std::string& kernel) {
  [[maybe_unused]] const bool is_gradient = kernel.find("_grad") != std::string::npos;
  (mutants.push_back({kernel + ": argument " + std::to_string(Outs),
                      [](Backend& backend) { backend.*Member = Damage<Member, Outs>::kernel; },
                      is_gradient}),
   ...);
}

// Of every kernel.
std::vector<Mutant> all_mutants() {
  std::vector<Mutant> mutants;
#define FULMAR_MUTANTS(name, ...) \
  add_mutants<&Backend::name __VA_OPT__(, ) __VA_ARGS__>(mutants, #name);
  FULMAR_KERNELS(FULMAR_MUTANTS)
#undef FULMAR_MUTANTS
  return mutants;
}

using Check = Complaints (*)(const Case&, Context&, Device&);

bool noticed(const Mutant& mutant, Check check, Context& context) {
  Backend backend = reference_backend();
  backend.name = "damaged";
  mutant.apply(backend);
  Device device(backend, context.device("reference").stream());
  for (const Case& c : op_cases())
    if (!c.parity_only && !check(c, context, device).empty()) return true;
  return false;
}

}  // namespace

TEST_CASE("op checks: parity notices every damaged kernel") {
  Context context;
  for (const Mutant& mutant : all_mutants()) {
    CAPTURE(mutant.name);
    CHECK(noticed(mutant, check_parity, context));
  }
}

TEST_CASE("op checks: finite differences notice every damaged gradient") {
  Context context;
  for (const Mutant& mutant : all_mutants()) {
    if (!mutant.is_gradient) continue;
    CAPTURE(mutant.name);
    CHECK(noticed(mutant, check_gradients, context));
  }
}

TEST_CASE("op checks: guards notice a write past the end and a read of what lay there") {
  Context context;
  const Mutant past_the_end{
      "past the end", [](Backend& backend) {
        backend.batch_norm_param_grad = [](Stream& s, const View& sums, const View& var,
                                           const View& dgamma, const View& dbeta, double epsilon) {
          reference_backend().batch_norm_param_grad(s, sums, var, dgamma, dbeta, epsilon);
          dgamma.as<double>()[dgamma.shape.elements()] = 0;
        };
      }};
  CHECK(noticed(past_the_end, check_guards, context));
  const Mutant adds{"adds to what lay there", [](Backend& backend) {
                      backend.resize = [](Stream& s, const View& x, const View& y,
                                          const Resize& how) {
                        const double before = y.as<double>()[0];
                        reference_backend().resize(s, x, y, how);
                        y.as<double>()[0] += 1e-300 * before;
                      };
                    }};
  CHECK(noticed(adds, check_guards, context));
}

}  // namespace fulmar::test
