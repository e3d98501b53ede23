#include <limits>
#include <type_traits>

#include "kernels/class_indices.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/first_largest.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// A vector holds one class of several rows: any number of classes fills it.
class RowBlock {
 public:
  RowBlock(float* memory, int64_t classes) : value_(memory), classes_(classes) {}

  V get(int64_t k) const { return hn::Load(D(), value_ + k * lanes()); }
  void set(int64_t k, V v) { hn::Store(v, D(), value_ + k * lanes()); }

  void load(const float* x, int64_t rows) {
    const int64_t step = lanes();
    for (int64_t r = 0; r < rows; r++)
      for (int64_t k = 0; k < classes_; k++) value_[k * step + r] = x[r * classes_ + k];
    for (int64_t r = rows; r < step; r++)
      for (int64_t k = 0; k < classes_; k++) value_[k * step + r] = 0;
  }
  void store_row(int64_t r, float* y) const {
    for (int64_t k = 0; k < classes_; k++) y[k] = value_[k * lanes() + r];
  }

  // x becomes x - max; returns the sum of exp(x - max).
  V normalise() {
    V most = get(0);
    for (int64_t k = 1; k < classes_; k++) most = hn::Max(most, get(k));
    V sum = hn::Zero(D());
    for (int64_t k = 0; k < classes_; k++) {
      const V x = hn::Sub(get(k), most);
      set(k, x);
      sum = hn::Add(sum, exp(Number(x)).v);
    }
    return sum;
  }

 private:
  float* value_;
  int64_t classes_;
};

// Calls body(first row, rows, memory of `blocks` RowBlocks) for a vector of rows at a time.
template <class Body>
void for_row_blocks(Stream& stream, int64_t rows, int64_t classes, int64_t blocks,
                    const Body& body) {
  const int64_t step = lanes();
  const int64_t grain = rows_per_chunk(classes * step, elementwise_grain / 4) * step;
  for_chunks(stream, rows, grain, [&](int64_t begin, int64_t end, int worker) HWY_ATTR {
    auto* memory = static_cast<float*>(
        stream.pool->scratch(worker, static_cast<size_t>(blocks * classes * step) * sizeof(float)));
    for (int64_t row = begin; row < end; row += step) body(row, std::min(step, end - row), memory);
  });
}

void softmax(Stream& stream, const View& x, const View& y) {
  const int64_t classes = x.shape.channels();
  const float* from = x.as<float>();
  float* to = y.as<float>();
  for_row_blocks(stream, x.shape.pixels(), classes, 1,
                 [=](int64_t row, int64_t rows, float* memory) HWY_ATTR {
                   RowBlock block(memory, classes);
                   block.load(from + row * classes, rows);
                   const V sum = block.normalise();
                   for (int64_t k = 0; k < classes; k++)
                     block.set(k, hn::Div(exp(Number(block.get(k))).v, sum));
                   for (int64_t r = 0; r < rows; r++) block.store_row(r, to + (row + r) * classes);
                 });
}

// What the loss and its gradient read beside the logits, a vector of rows at a time.
class Targets {
 public:
  Targets(const View& labels, const View& class_weight, const View& pixel_weight, int64_t classes,
          const CrossEntropy& how, float* memory)
      : indices_(labels),
        targets_(labels.as<float>()),
        class_weight_(class_weight.as<float>()),
        pixel_weight_(pixel_weight.as<float>()),
        classes_(classes),
        how_(how),
        soft_(memory, classes) {}

  void load(int64_t row, int64_t rows) {
    const int64_t step = lanes();
    // A copy: for all the compiler knows, a store to a byte changes a member.
    const ClassIndices indices = indices_;
    if (!indices) soft_.load(targets_ + row * classes_, rows);
    for (int64_t r = 0; r < step; r++) label_[r] = indices && r < rows ? indices[row + r] : 0;
    for (int64_t r = 0; r < step; r++) {
      const int32_t label = label_[r];
      ignored[r] = indices && r < rows && label == how_.ignore_index;
      weight_[r] = r < rows && pixel_weight_ ? pixel_weight_[row + r] : 1;
      if (!ignored[r] && (label < 0 || label >= classes_))
        weight_[r] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  V pixel_weight() const { return hn::Load(D(), weight_); }
  // c_k t_k, smoothed or not
  V weighted(int64_t k, bool smoothed) const {
    const D d;
    const hn::RebindToSigned<D> di;
    V t;
    if (indices_) {
      const auto same = hn::Eq(hn::Load(di, label_), hn::Set(di, static_cast<int32_t>(k)));
      t = hn::IfThenElseZero(hn::RebindMask(d, same), hn::Set(d, 1.0f));
    } else {
      t = soft_.get(k);
    }
    if (smoothed && how_.label_smoothing != 0) {
      const double s = how_.label_smoothing;
      t = hn::MulAdd(t, hn::Set(d, static_cast<float>(1 - s)),
                     hn::Set(d, static_cast<float>(s / static_cast<double>(classes_))));
    }
    return class_weight_ ? hn::Mul(t, hn::Set(d, class_weight_[k])) : t;
  }

  bool ignored[max_lanes];

 private:
  ClassIndices indices_;
  const float* targets_;  // where there are no indices
  const float *class_weight_, *pixel_weight_;
  int64_t classes_;
  CrossEntropy how_;
  RowBlock soft_;
  HWY_ALIGN int32_t label_[max_lanes];
  HWY_ALIGN float weight_[max_lanes];
};

void softmax_cross_entropy(Stream& stream, const View& logits, const View& labels,
                           const View& class_weight, const View& pixel_weight, const View& row_loss,
                           const View& row_weight, const CrossEntropy& how) {
  const int64_t classes = logits.shape.channels();
  const auto body = [&](int64_t row, int64_t rows, float* memory) HWY_ATTR {
    const D d;
    RowBlock block(memory, classes);
    Targets targets(labels, class_weight, pixel_weight, classes, how, memory + classes * lanes());
    block.load(logits.as<float>() + row * classes, rows);
    targets.load(row, rows);
    const V log_sum = log(Number(block.normalise())).v;
    V loss = hn::Zero(d), weight = hn::Zero(d);
    for (int64_t k = 0; k < classes; k++) {
      const V target = targets.weighted(k, true);
      const V term = hn::Mul(target, hn::Sub(log_sum, block.get(k)));
      // A class without weight adds nothing even where its probability is 0.
      loss = hn::Add(loss, hn::IfThenZeroElse(hn::Eq(target, hn::Zero(d)), term));
      weight = hn::Add(weight, targets.weighted(k, false));
    }
    HWY_ALIGN float losses[max_lanes], weights[max_lanes];
    hn::Store(hn::Mul(loss, targets.pixel_weight()), d, losses);
    hn::Store(hn::Mul(weight, targets.pixel_weight()), d, weights);
    for (int64_t r = 0; r < rows; r++) {
      row_loss.as<float>()[row + r] = targets.ignored[r] ? 0 : losses[r];
      row_weight.as<float>()[row + r] = targets.ignored[r] ? 0 : weights[r];
    }
  };
  for_row_blocks(stream, logits.shape.pixels(), classes, 2, body);
}

void softmax_cross_entropy_grad(Stream& stream, const View& logits, const View& labels,
                                const View& class_weight, const View& pixel_weight,
                                const View& drow_loss, const View& dlogits,
                                const CrossEntropy& how) {
  const int64_t classes = logits.shape.channels();
  const auto body = [&](int64_t row, int64_t rows, float* memory) HWY_ATTR {
    const D d;
    RowBlock block(memory, classes);
    Targets targets(labels, class_weight, pixel_weight, classes, how, memory + classes * lanes());
    block.load(logits.as<float>() + row * classes, rows);
    targets.load(row, rows);
    const V dloss = hn::Mul(Part{rows}(drow_loss.as<float>() + row), targets.pixel_weight());
    V total = hn::Zero(d);
    for (int64_t k = 0; k < classes; k++) total = hn::Add(total, targets.weighted(k, true));
    const V scale = hn::Div(total, block.normalise());
    for (int64_t k = 0; k < classes; k++) {
      const V p = exp(Number(block.get(k))).v;
      block.set(k, hn::Mul(dloss, hn::MulSub(p, scale, targets.weighted(k, true))));
    }
    for (int64_t r = 0; r < rows; r++) {
      float* out = dlogits.as<float>() + (row + r) * classes;
      if (targets.ignored[r])
        std::fill_n(out, classes, 0.0f);
      else
        block.store_row(r, out);
    }
  };
  for_row_blocks(stream, logits.shape.pixels(), classes, 2, body);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

void argmax(Stream& stream, const View& x, const View& y) {
  const int64_t channels = x.shape.channels();
  const auto write = [&](auto* to) {
    for_chunks(stream, x.shape.pixels(), rows_per_chunk(channels, elementwise_grain),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t row = begin; row < end; row++)
                   to[row] = static_cast<std::remove_pointer_t<decltype(to)>>(
                       first_largest(x.as<float>() + row * channels, channels));
               });
  };
  if (y.type == DType::u8)
    write(y.as<uint8_t>());
  else
    write(y.as<int32_t>());
}

HWY_EXPORT(softmax);
void softmax(Stream& stream, const View& x, const View& y) {
  HWY_DYNAMIC_DISPATCH(softmax)(stream, x, y);
}

HWY_EXPORT(softmax_cross_entropy);
void softmax_cross_entropy(Stream& stream, const View& logits, const View& labels,
                           const View& class_weight, const View& pixel_weight, const View& row_loss,
                           const View& row_weight, const CrossEntropy& how) {
  HWY_DYNAMIC_DISPATCH(softmax_cross_entropy)
  (stream, logits, labels, class_weight, pixel_weight, row_loss, row_weight, how);
}

HWY_EXPORT(softmax_cross_entropy_grad);
void softmax_cross_entropy_grad(Stream& stream, const View& logits, const View& labels,
                                const View& class_weight, const View& pixel_weight,
                                const View& drow_loss, const View& dlogits,
                                const CrossEntropy& how) {
  HWY_DYNAMIC_DISPATCH(softmax_cross_entropy_grad)
  (stream, logits, labels, class_weight, pixel_weight, drow_loss, dlogits, how);
}

}  // namespace fulmar::cpu
#endif
