#pragma once

#include "data/pictures.h"
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "tools/run/evaluation.h"

namespace fulmar::tools {

// Gives each mistake its Grad-CAM: what speaks for the class that the model called. None where the
// network's maps have one pixel. `pictures` as add_mistakes() had them. Errors as Explainer's, but
// for what is wrong with a picture.
void explain_mistakes(Evaluation& evaluation, const Checkpoint& checkpoint,
                      const data::Pictures& pictures, Context& context, Device& device);

}  // namespace fulmar::tools
