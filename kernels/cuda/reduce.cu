#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/ops.h"

namespace fulmar::cuda {
namespace {

// Axes of x, neighbours that are all kept or all summed taken together: at most two of each. An
// axis that isn't there has extent 1.
struct Plan {
  struct Axis {
    int64_t extent = 1, stride = 0;
  };
  Axis kept[2], summed[2];  // slower first
};

Plan plan_of(const Shape& x, const Shape& y) {
  const int64_t from[] = {x.images(), x.height(), x.width(), x.channels()};
  const int64_t to[] = {y.images(), y.height(), y.width(), y.channels()};
  Plan plan;
  int kept = 2, summed = 2, before = -1;  // filled from the fastest on
  int64_t stride = 1;
  for (int axis = 3; axis >= 0; axis--) {
    if (from[axis] == 1) continue;
    const int is_summed = to[axis] == 1 ? 1 : 0;
    int& at = is_summed ? summed : kept;
    Plan::Axis* axes = is_summed ? plan.summed : plan.kept;
    if (before == is_summed)
      axes[at].extent *= from[axis];
    else
      axes[--at] = {from[axis], stride};
    before = is_summed;
    stride *= from[axis];
  }
  return plan;
}

template <class T>
struct AddElement {
  const T* x;
  Plan plan;
  FULMAR_DEVICE void operator()(int64_t group, int64_t row, int64_t column, RunSum<1>& run) const {
    const int64_t slow = divide(row, plan.summed[1].extent);
    const int64_t fast = row - slow * plan.summed[1].extent;
    const int64_t i = group * plan.kept[0].stride + column * plan.kept[1].stride +
                      slow * plan.summed[0].stride + fast * plan.summed[1].stride;
    run.of[0] += number(x[i]);
  }
};

// The same where columns are channels and rows pixels.
template <class T>
struct AddChannels : PlainSums {
  const T* x;
  struct Nothing {};
  template <int lanes>
  FULMAR_DEVICE Nothing keep(int64_t) const {
    return {};
  }
  template <int lanes>
  FULMAR_DEVICE void add(const Nothing&, int64_t i, FloatSums<1, lanes>& sums) const {
    const auto value = load<lanes>(x + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) sums.of[0][k] += value.v[k];
  }
};

// Whether rows lie one behind the other, of one group or of neighbouring ones.
bool sums_channels(const Plan& plan, const SumShape& shape) {
  constexpr int64_t most_groups = 65535;
  return plan.summed[0].extent == 1 && shape.columns > 1 && plan.kept[1].stride == 1 &&
         plan.summed[1].stride == shape.columns && shape.groups <= most_groups &&
         (shape.groups == 1 || plan.kept[0].stride == shape.rows * shape.columns);
}

template <class T>
struct KeepSum {
  T* y;
  int64_t columns;
  FULMAR_DEVICE void operator()(int64_t group, int64_t column, const Sum<1>& sum) const {
    y[group * columns + column] = rounded<T>(static_cast<float>(sum.of[0]));
  }
};

}  // namespace

void reduce_sum(Stream& stream, const View& x, const View& y) {
  if (x.shape.elements() == 0) return fill(stream, y, 0);
  const Plan plan = plan_of(x.shape, y.shape);
  const SumShape shape{plan.kept[0].extent, plan.summed[0].extent * plan.summed[1].extent,
                       plan.kept[1].extent};
  for_type_of(x, [&](auto from) {
    for_type_of(y, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const KeepSum<To> keep{elements<To>(y), shape.columns};
      if (sums_channels(plan, shape)) {
        AddChannels<From> body{};
        body.x = elements<From>(x);
        return sum_channels<From, 1>(stream, "reduce_sum", shape, body, keep, body.x);
      }
      sum_rows<1>(stream, "reduce_sum", shape, AddElement<From>{elements<From>(x), plan}, keep);
    });
  });
}

}  // namespace fulmar::cuda
