/* sampler.h - the process that holds one case and runs steps of it when asked: `longmix sampler`.
 *
 * Two builds are compared by their samplers, so what they say to each other is a protocol of its
 * own: it must be understood by older and newer builds. A request is a line: a word, a blank, a
 * JSON object; an answer is a JSON object on a line, with "status" ("ok" or a row's status) and
 * "reason". Members that a side does not know are left alone, but for those of a case, which change
 * what is measured. Words and members:
 *   hello  -> protocol, build, commit, compiler, isa
 *   open   case, shift (a list: bytes that move the buffers of each copy of the case), drag (extra
 *          work, a fraction of a step)
 *          -> seconds (of the first step), seats (copies there are), unit (steps that only together
 *          are alike)
 *   time   steps, seat (which copy) -> seconds, switches (times that the process was interrupted)
 *   facts  case, run (also those that take a step), instructions -> facts
 *   check  case -> error, tolerance */
#ifndef LONGMIX_SAMPLER_H
#define LONGMIX_SAMPLER_H

enum { SAMPLER_PROTOCOL = 1 };

int sampler_main(int argc, char **argv);

#endif
