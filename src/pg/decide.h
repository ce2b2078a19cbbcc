/*
 * decide.h
 *		Calls whose answer is one of several given ones: the candidates, and which one wins.
 */
#ifndef DSVL2_DECIDE_H
#define DSVL2_DECIDE_H

#include "compat.h"

#include "infer.h"
#include "utils/jsonb.h"

/* Of a DSV_TASK_IS call: yes is candidate 0, no is candidate 1.  Opens the model for its words. */
void		SetStatement(InferCall *call, char *utf8);

/* Of a DSV_TASK_CLASSIFY call: a list of labels, each "name" or "name: description".  What is no such
 * list, NULL, empty and equal names raise 22023, more than the engine scores 54000. */
void		SetJsonLabels(InferCall *call, Jsonb *labels);

/* [ncandidates] softmax over the log-probabilities of yes and no, or over those of the labels per
 * token */
float4	   *CandidateScores(const InferCall *call, const InferResult *result);

/* The best one, the first of equals; *abstains: its lead over the second is below the option */
int			BestCandidate(const InferCall *call, const float4 *scores, bool *abstains);

/* "yes" or "no", whatever the model's words for them are, or a label */
text	   *CandidateName(const InferCall *call, int candidate);

#endif
