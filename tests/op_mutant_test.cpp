#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "tests/op_check.h"

// The checks of the op table, checked: each kernel of the backend table is damaged in turn, and
// some case must complain.
namespace fulmar::test {
namespace {

void spoil(const View& out) {
  if (out.shape.elements() == 0) return;
  if (out.type == DType::u8) {
    out.as<uint8_t>()[0] ^= 1;
  } else {
    double& value = out.as<double>()[0];
    value += 1e-3 * (1 + std::abs(value));
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
  const char* name;
  std::function<void(Backend&)> apply;
};

template <auto Member, size_t Out>
Mutant damaged(const char* name) {
  return {name, [](Backend& backend) { backend.*Member = Damage<Member, Out>::kernel; }};
}

const Mutant forward_mutants[] = {
    damaged<&Backend::copy, 2>("copy"),
    damaged<&Backend::fill, 1>("fill"),
    damaged<&Backend::broadcast, 2>("broadcast"),
    damaged<&Backend::reduce_sum, 2>("reduce_sum"),
    damaged<&Backend::pointwise, 3>("pointwise"),
    damaged<&Backend::conv2d, 4>("conv2d"),
    damaged<&Backend::depthwise_conv2d, 3>("depthwise_conv2d"),
    damaged<&Backend::channel_sums, 3>("channel_sums"),
    damaged<&Backend::moments, 3>("moments: mean"),
    damaged<&Backend::moments, 4>("moments: var"),
    damaged<&Backend::update_running, 4>("update_running: mean"),
    damaged<&Backend::update_running, 5>("update_running: var"),
    damaged<&Backend::batch_norm, 6>("batch_norm"),
    damaged<&Backend::max_pool, 2>("max_pool: y"),
    damaged<&Backend::max_pool, 3>("max_pool: argmax"),
    damaged<&Backend::average_pool, 2>("average_pool"),
    damaged<&Backend::resize, 2>("resize"),
    damaged<&Backend::softmax, 2>("softmax"),
    damaged<&Backend::softmax_cross_entropy, 5>("softmax_cross_entropy: row_loss"),
    damaged<&Backend::softmax_cross_entropy, 6>("softmax_cross_entropy: row_weight"),
    damaged<&Backend::dropout, 2>("dropout"),
    damaged<&Backend::accumulate, 2>("accumulate"),
    damaged<&Backend::adamw, 2>("adamw: theta"),
    damaged<&Backend::adamw, 3>("adamw: m"),
    damaged<&Backend::adamw, 4>("adamw: v"),
    damaged<&Backend::warp, 3>("warp"),
};

const Mutant gradient_mutants[] = {
    damaged<&Backend::pointwise_grad, 4>("pointwise_grad"),
    damaged<&Backend::conv2d_input_grad, 3>("conv2d_input_grad"),
    damaged<&Backend::conv2d_weight_grad, 3>("conv2d_weight_grad"),
    damaged<&Backend::depthwise_conv2d_input_grad, 3>("depthwise_conv2d_input_grad"),
    damaged<&Backend::depthwise_conv2d_weight_grad, 3>("depthwise_conv2d_weight_grad"),
    damaged<&Backend::batch_norm_grad_sums, 4>("batch_norm_grad_sums"),
    damaged<&Backend::batch_norm_grad, 8>("batch_norm_grad"),
    damaged<&Backend::batch_norm_param_grad, 3>("batch_norm_param_grad: dgamma"),
    damaged<&Backend::batch_norm_param_grad, 4>("batch_norm_param_grad: dbeta"),
    damaged<&Backend::max_pool_grad, 3>("max_pool_grad"),
    damaged<&Backend::average_pool_grad, 2>("average_pool_grad"),
    damaged<&Backend::resize_grad, 2>("resize_grad"),
    damaged<&Backend::softmax_cross_entropy_grad, 6>("softmax_cross_entropy_grad"),
};

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
  for (const Mutant& mutant : forward_mutants) {
    CAPTURE(mutant.name);
    CHECK(noticed(mutant, check_parity, context));
  }
  for (const Mutant& mutant : gradient_mutants) {
    CAPTURE(mutant.name);
    CHECK(noticed(mutant, check_parity, context));
  }
}

TEST_CASE("op checks: finite differences notice every damaged gradient") {
  Context context;
  for (const Mutant& mutant : gradient_mutants) {
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
