#include <vector>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"

// What cuDNN does on a GPU, by the reference: in double, rounded once.
namespace fulmar::cuda {
namespace {

// A float32 tensor of the device, in double.
class Wide {
 public:
  explicit Wide(const View& view)
      : narrow_(view), values_(static_cast<size_t>(view.shape.elements())) {
    const float* from = view ? reals(view) : nullptr;
    for (size_t i = 0; from && i < values_.size(); i++) values_[i] = static_cast<double>(from[i]);
  }
  View view() { return narrow_ ? view_of(values_.data(), narrow_.shape, DType::f64) : View{}; }
  void narrow() const {
    for (size_t i = 0; i < values_.size(); i++) reals(narrow_)[i] = static_cast<float>(values_[i]);
  }

 private:
  View narrow_;
  std::vector<double> values_;
};

}  // namespace

void conv2d(Stream& stream, const View& x, const View& w, const View& bias, const View& y,
            const Window& window, int64_t groups) {
  Wide wx(x), ww(w), wb(bias), wy(y);
  reference_backend().conv2d(stream, wx.view(), ww.view(), wb.view(), wy.view(), window, groups);
  wy.narrow();
}

void conv2d_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                       const Window& window, int64_t groups) {
  Wide wdy(dy), ww(w), wdx(dx);
  reference_backend().conv2d_input_grad(stream, wdy.view(), ww.view(), wdx.view(), window, groups);
  wdx.narrow();
}

void conv2d_weight_grad(Stream& stream, const View& x, const View& dy, const View& dw,
                        const Window& window, int64_t groups, void* work) {
  Wide wx(x), wdy(dy), wdw(dw);
  reference_backend().conv2d_weight_grad(stream, wx.view(), wdy.view(), wdw.view(), window, groups,
                                         work);
  wdw.narrow();
}

size_t conv2d_weight_grad_workspace(Stream&, const View&, const View&, const View&, const Window&,
                                    int64_t) {
  return 0;
}

}  // namespace fulmar::cuda
