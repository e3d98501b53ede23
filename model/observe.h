#pragma once

#include <vector>

#include "engine/batch_source.h"
#include "engine/session.h"
#include "model/program.h"

// Batches into a program's inputs, and what its heads watch out of it.
namespace fulmar::model {

// The values that a session must give, so that observe() can read them.
std::vector<Val> watched_values(const Program& program);

// Copies a batch into the inputs of a program, in the order of its tensors. Error(usage) where they
// are not as the program takes them.
FULMAR_API void set_inputs(Session& session, const Program& program, const Batch& batch);

// One for each head, after a run with this batch of a source of these tensors.
std::vector<Observed> observe(Session& session, const Program& program, const Heads& heads,
                              const std::vector<TensorSpec>& tensors, const Batch& batch);

}  // namespace fulmar::model
