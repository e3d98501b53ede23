#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/tape.h"
#include "kernels/step_state.h"

namespace fulmar {

// The values that last between runs: weights, running statistics, an optimiser's state, step state.
// Tapes name them. Weights lie in one flat arena, in reverse order of first use; gradients share
// the layout, so backward finishes a growing prefix of them. The device must outlive the Model, and
// the Model every Session that uses it. The Model doesn't keep the tape that it was made from.
class FULMAR_API Model {
 public:
  struct Parameter {
    std::string name;
    Shape shape;
    int64_t begin = 0;    // element in the flat arenas; a multiple of `parameter_alignment`
    bool decays = false;  // weight decay applies
  };
  // A running statistic, or a weight that is frozen: no gradient and no moments.
  struct Statistic {
    std::string name;
    Shape shape;
  };
  static constexpr int64_t parameter_alignment = 32;  // elements

  // The parameters and statistics that a tape's leaves ask for, initialised from `seed`: each
  // tensor from its own stream of random numbers, whatever the order. Without a seed all are 0,
  // for whoever writes them anyway. Error(usage) where one is named as a buffer is: see view().
  Model(Device& device, const Tape& tape, std::optional<uint64_t> seed);

  Device& device() const { return *device_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const std::vector<Statistic>& statistics() const { return statistics_; }
  int64_t flat_size() const { return flat_size_; }  // elements of a flat arena, gaps included
  int64_t trainable_count() const;                  // elements of all parameters
  int64_t parameter_count() const;                  // running statistics included, as Keras counts
  size_t bytes() const;                             // of device memory, so far

  // Where a leaf lives: a parameter, a statistic, or one of the buffers "/parameters",
  // "/gradient_sum" and the optimisers' (all_state_names(): "/adamw/moment1", …) [flat_size],
  // "/weight_sum" [1], "/segments", "/step_state". Sums and optimisers' buffers are made (as zeros)
  // when first asked for. Error(usage) for an unknown name or a shape that differs.
  View view(const std::string& name, const ValueInfo& info);
  bool has(const std::string& name) const;

  // Which optimisers' buffers it has by now, in the order of all_state_names().
  std::vector<std::string> states() const;

  // Values of a parameter, a statistic or a flat buffer, row-major.
  std::vector<double> read(const std::string& name);
  void write(const std::string& name, std::span<const double> values);
  // The same as they lie in device memory, of the device's real type. Error(usage) where the bytes
  // are not exactly as many.
  std::vector<std::byte> read_bytes(const std::string& name);
  void write_bytes(const std::string& name, std::span<const std::byte> bytes);

  // Grows with every change of weights or statistics: what was computed from them is then old.
  // Whoever changes them by their views says so.
  uint64_t version() const { return version_; }
  void changed() { version_++; }

  // The numbers that the runs called from now on read. Earlier runs may still be under way.
  void set_step_state(const StepState& state);
  // Fills a buffer with zeros.
  void clear(const std::string& name);

  // Applies weight decay to every parameter from now on, as the published training does, and AdamW
  // in Keras and PyTorch. A new Model leaves out biases and batch normalisation.
  void decay_all();

  // Leaves on a tape for training: the flat arenas and the table of segments.
  ValueInfo flat_info() const { return {Shape{flat_size_}, Role::parameter, DType::f32}; }
  ValueInfo segments_info() const;

 private:
  View find(const std::string& name);
  DeviceBuffer& zeros(const std::string& name, const Shape& shape);
  void write_segments();

  Device* device_;
  std::vector<Parameter> parameters_;
  std::vector<Statistic> statistics_;
  int64_t flat_size_ = 0;
  uint64_t version_ = 1;
  std::map<std::string, View> views_;
  std::map<std::string, DeviceBuffer> buffers_;
  // Step states on their way to the device, each behind an earlier one's last reader.
  struct Sent {
    PinnedBuffer memory;
    uint64_t mark = 0;
  };
  std::array<Sent, 4> sent_;
  size_t next_sent_ = 0;
};

}  // namespace fulmar
