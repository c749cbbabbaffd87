#include "reaper/reap_batch_steps.h"

void reap_batch_run(struct reap_batch *batch)
{
	for (; batch->steps[batch->step]; batch->step++)
		if (batch->steps[batch->step](batch))
			return;
	reap_batch_end(batch);
}

void reap_batch_end(struct reap_batch *batch)
{
	batch->n = 0;
	batch->config.on_done(batch->config.ctx);
}

void reap_batch_end_step(struct reap_batch *batch)
{
	batch->step++;
	if (batch->config.is_stopping(batch->config.ctx))
		reap_batch_end(batch);
	else
		reap_batch_run(batch);
}

bool reap_batch_choose(struct reap_batch *batch, enum lease_plan plan)
{
	batch->n_chosen = 0;
	for (size_t i = 0; i < batch->n; i++)
		if (batch->items[i].plan == plan && batch->items[i].verb == REAP_VERB_NONE)
			batch->chosen[batch->n_chosen++] = i;
	return batch->n_chosen > 0;
}
