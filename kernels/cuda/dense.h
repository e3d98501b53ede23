#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

// Dense convolutions and products as the vendor's libraries see them.
namespace fulmar::cuda {

enum class Product : uint8_t { forward, input_grad, weight_grad };

// One of the three products of y = conv(x, w): shapes are those of the backend's table, of the
// gradients where the product reads or makes those.
struct DenseProblem {
  Product product = Product::forward;
  Precision precision = Precision::fp32;
  Shape x, w, y;
  Window window;
  int64_t groups = 1;
  bool bias = false;

  DType activation() const { return precision == Precision::bf16 ? DType::bf16 : DType::f32; }
  // One matrix product over all pixels: 1x1, stride 1, not padded, one group.
  bool is_matrix_product() const;
  bool is_empty() const;  // nothing to compute, or nothing to compute it from

  // "conv2d fp32 x[16,64,64,32] w[3,3,32,64] y[16,64,64,64] stride 1,1 dilation 1,1 padding
  // 1,1,1,1 groups 1 bias"
  std::string text() const;
  // What tells problems apart, in numbers.
  std::vector<int64_t> numbers() const;
};

// Memory on the device: two of x, w and y are read, the third is written.
struct DenseOperands {
  void *x = nullptr, *w = nullptr, *y = nullptr;
  const void* bias = nullptr;
};

// A way to compute one problem on one stream, by a vendor's library.
class DenseAlgorithm {
 public:
  virtual ~DenseAlgorithm() = default;
  virtual size_t workspace_bytes() const = 0;
  // Puts work on the stream and returns. Operands lie at multiples of 16 bytes, `work` of 64.
  virtual void run(const DenseOperands&, void* work) = 0;
};

// Makes algorithms for problems: cuDNN or cuBLASLt.
class DenseLibrary {
 public:
  virtual ~DenseLibrary() = default;
  // By which texts of algorithms begin: "cudnn".
  virtual std::string name() const = 0;
  // Algorithms as text, the one that is expected to be the fastest first; none where the library
  // can't, and then why.
  virtual std::vector<std::string> proposals(const DenseProblem&, std::string& why_not) = 0;
  // Null where the library doesn't support this one after all, and then why; Error(device) where a
  // call fails, Error(file) where `text` is none of its own.
  virtual std::unique_ptr<DenseAlgorithm> make(const DenseProblem&, const std::string& text,
                                               std::string& why_not) = 0;
};

// Where the parts of a workspace begin: multiples of 256 bytes.
class WorkLayout {
 public:
  size_t add(size_t bytes) {
    const size_t at = bytes_;
    bytes_ += (bytes + 255) / 256 * 256;
    return at;
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};
inline void* at(void* work, size_t offset) { return static_cast<char*>(work) + offset; }

}  // namespace fulmar::cuda
