#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/task.h"

namespace fulmar::model {

// An input or output of a model, as its user sees it.
struct TensorInfo {
  std::string name;
  DType type = DType::f32;
  Shape extents;          // -1: any
  bool pictures = false;  // an input that the model's preprocessing reads
};

// A model file ready for use, and never changed: read once, weights straight into device memory,
// nothing of the file kept. Threads share one; each works with a ModelSession of its own.
class FULMAR_API LoadedModel {
 public:
  // `device` as in Context::device; the model opens it for itself. Error(file) naming the file and
  // what is wrong with it; Error(device) as Context::device, or where memory runs out.
  explicit LoadedModel(const std::string& path, const std::string& device = "cpu");
  // On a device that outlives it.
  LoadedModel(const std::string& path, Device& device);
  ~LoadedModel();

  const std::string& path() const { return path_; }
  const ModelInfo& info() const { return info_; }                   // without training_state
  const std::vector<std::string>& notes() const { return notes_; }  // as Checkpoint's
  // The file's entries of text ("classes", "preprocess", …), without a training state.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const Heads& heads() const { return heads_; }
  Device& device() const { return *device_; }
  size_t bytes() const { return weights_->bytes(); }  // of device memory
  // For programs of one's own: nobody writes to them.
  Model& weights() const { return *weights_; }

  // In the order of the network's inputs. Pictures are [N,H,W,bands] as a decoder gives them, of
  // `type` or f32 in the same units. Other inputs are f32 [N,h,w,C], of any extents where the first
  // has no preprocessing.
  const std::vector<TensorInfo>& inputs() const { return inputs_; }
  // First the heads' results ("probabilities", "classes"; of several heads "OUTPUT/classes"), then
  // the network's outputs by their names. Numbers are f32, classes u8 or i32 as `type` says.
  const std::vector<TensorInfo>& outputs() const { return outputs_; }

 private:
  void load();
  void describe_inputs(bool any_size);

  std::string path_;
  std::unique_ptr<Context> own_;
  Device* device_;
  ModelInfo info_;
  std::vector<std::string> notes_;
  std::map<std::string, std::string> metadata_;
  Heads heads_;
  std::vector<TensorInfo> inputs_, outputs_;
  std::unique_ptr<Model> weights_;
};

}  // namespace fulmar::model
