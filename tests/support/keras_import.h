#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "engine/context.h"
#include "model/model_session.h"
#include "tests/support/built.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"
#include "tools/keras/import_keras.h"

namespace fulmar::test {

// Whether the program that reads HDF5 was built; the library finds it then.
inline bool reads_keras() {
  if (built::hdf5.empty()) return false;
  ::setenv("FULMAR_HDF5_PROGRAM", built::hdf5.c_str(), 1);
  return true;
}

// A Keras file as a model file of its own folder, in use.
struct ImportedModel {
  Context context;
  TempFolder folder;
  std::string path = folder.path("model.safetensors");
  keras::Imported result;

  ImportedModel(const std::string& file, const keras::ImportOptions& options = {})
      : result(keras::import_keras(file, path, options, context.device("cpu"))) {}

  // What the network gives for pictures [N,S,S,C], whose elements are u8 or f32.
  std::vector<float> run(const View& pictures) {
    auto model = std::make_shared<const model::LoadedModel>(path, "cpu");
    const std::string name = model->info().network.output();
    const auto& outputs = model->outputs();
    std::vector<model::HostTensor> tensors(outputs.size());
    std::vector<float> y;
    for (size_t i = 0; i < outputs.size(); i++) {
      if (outputs[i].name != name) continue;
      Shape shape = outputs[i].extents;
      shape[0] = pictures.shape[0];
      y.resize(static_cast<size_t>(shape.elements()));
      tensors[i] = view_of(y.data(), shape, DType::f32);
    }
    model::ModelSession session(model);
    const model::HostTensor x = pictures;
    session.run({&x, 1}, tensors);
    return y;
  }
};

}  // namespace fulmar::test
