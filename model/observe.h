#pragma once

#include <iterator>
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

// Fills in one for each head, after a run with this batch of a source of these tensors. Calls
// read(place in watched_values(), numbers). Reuses the memory of `all`.
template <class Read>
void observe(const Program& program, const Heads& heads, const std::vector<TensorSpec>& tensors,
             const Batch& batch, const Read& read, std::vector<Observed>& all) {
  all.resize(heads.size());
  size_t next = 0;
  for (size_t i = 0; i < heads.size(); i++) {
    Observed& seen = all[i];
    seen.samples = std::ssize(batch.samples);
    seen.label = named_tensor(tensors, batch, heads[i].label);
    seen.watched.resize(program.heads[i].watched.size());
    for (std::vector<double>& numbers : seen.watched) read(next++, numbers);
  }
}

}  // namespace fulmar::model
