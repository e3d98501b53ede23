// make_model MODEL: writes a small untrained model for the example.
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "model/tasks/classification.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  fulmar::Context context;
  const fulmar::ModelInfo info = fulmar::model::classifier_of(
      fulmar::model::polar_low({3, 2, {4, 8, 16}, 0.5}), fulmar::Preprocess::of_pictures(0, 32, 3),
      fulmar::model::Classification({"neg", "pos"}, 1));
  fulmar::Device& device = context.device("reference");
  fulmar::Model model = fulmar::model::new_model(info, device, 7);
  fulmar::save_checkpoint(argv[1], info, model);
  return 0;
}
