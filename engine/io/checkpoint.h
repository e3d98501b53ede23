#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/network.h"
#include "engine/picture/preprocess.h"

namespace fulmar {

class Safetensors;
class SafetensorsStream;

// The state of a training beside weights and moments: a resumed run needs all of it.
struct TrainingState {
  std::string json;  // empty: there is none
  // Arrays by name. The file keeps every bit of them; an empty array equals an absent one.
  std::map<std::string, std::vector<float>> floats{};
  std::map<std::string, std::vector<double>> doubles{};
  std::map<std::string, std::vector<int32_t>> integers{};

  bool empty() const { return json.empty(); }
};

// The contents of a model file beside its weights.
struct FULMAR_API ModelInfo {
  Network network;
  // By the names of the network's inputs. An input without one takes numbers as they are.
  std::map<std::string, Preprocess> preprocess{};
  // What the outputs mean: entries of the file's metadata, which the engine keeps as they are.
  std::map<std::string, std::string> task{};
  std::string summary{};           // JSON for people: how it was trained and how well
  TrainingState training_state{};  // for resuming; empty in best.safetensors

  // The preprocessing of a network with one input. Error(usage) where it has several, or none.
  const Preprocess& picture() const;
};

// Writes weights, statistics and, with a training state, the optimiser's state. The file appears
// whole or not at all. Error(usage) where the description names an input that the network lacks, or
// its task uses a name of the engine's; Error(file) where the file can't be written.
FULMAR_API void save_checkpoint(const std::string& path, const ModelInfo& info, Model& model);

// A model file: a safetensors file whose metadata holds the rest.
class FULMAR_API Checkpoint {
 public:
  // Error(file) naming the file and what is wrong with it.
  static Checkpoint read(const std::string& path);

  const ModelInfo& info() const { return info_; }
  const std::string& path() const { return path_; }
  // Remarks about the file for its user, one sentence each.
  const std::vector<std::string>& notes() const;

  // Copies weights and statistics into a model of the same network, and the optimiser's state where
  // the file has a training state. Error(file) where a tensor is missing or has another shape.
  void restore(Model& model) const;
  // Copies every weight that the file has under the model's name and shape. Gives the names of the
  // model's other weights. For training on from another model.
  std::vector<std::string> initialize(Model& model) const;

 private:
  Checkpoint(std::string path, std::shared_ptr<const Safetensors> file);

  std::string path_;
  std::shared_ptr<const Safetensors> file_;
  ModelInfo info_;
};

// A model file opened for use: its description, then its weights, read once and straight to where
// they belong. Nothing of the file stays in memory, and a training state is left where it is.
class FULMAR_API ModelFile {
 public:
  // Error(file) naming the file and what is wrong with its header.
  explicit ModelFile(const std::string& path);
  ~ModelFile();

  const ModelInfo& info() const { return info_; }  // without training_state
  const std::string& path() const { return path_; }
  // The file's own entries of metadata, as they are.
  const std::map<std::string, std::string>& metadata() const;
  const std::vector<std::string>& notes() const;  // as Checkpoint's

  // Reads weights and statistics into a model of the same network; once. They are in device memory
  // at the end. Error(file) where a tensor is missing or has another shape, or the file is damaged:
  // the model's weights are then worth nothing.
  void restore(Model& model);

 private:
  std::string path_;
  std::unique_ptr<SafetensorsStream> file_;
  ModelInfo info_;
};

}  // namespace fulmar
