/* A thousand jobs for one crew, at once and after pauses: does each member do each of its jobs once, and see what the
 * caller wrote before it? Compiled by test_crew_kept.py, for the futex and for a lock and a condition. */
#include "system.h"

#include <stdio.h>
#include <unistd.h>

#include "crew.h"

enum { N = 4, JOBS = 1000 };

typedef struct {
    crew_t crew;
    int value, meets;
    int of_member[N];           /* number of jobs that each has seen */
    long done[N];
} case_t;

static void job(void *given, int member)
{
    case_t *c = given;
    c->of_member[member] = c->value;
    if (c->meets) {
        team_meet(&c->crew.team);
        for (int i = 0; i < c->crew.team.n; i++)
            c->done[member] += c->of_member[i] == c->value;
        team_meet(&c->crew.team);
    } else
        c->done[member]++;
}

int main(void)
{
    static case_t c;
    long wrong = 0, late = 0, expected = 0;
    crew_begin(&c.crew);
    for (int round = 0; round < 3; round++) {
        if (crew_reach(&c.crew, N) != N)
            return 2;
        for (int i = 0; i < JOBS; i++) {
            const int n = 1 + i % N, meet = i / 3 % 2, apart = i / 5 % 2;
            long before[N], of_all = 0;
            memcpy(before, c.done, sizeof before);
            c.value = i + 1;
            c.meets = meet;
            if (i % 200 == 0)
                usleep(300);    /* all members are asleep */
            crew_call(&c.crew, job, &c, n, meet, apart);
            if (!apart)
                job(&c, 0);
            while (!crew_wait(&c.crew, apart ? 1e-3 : 0))
                late++;
            for (int k = 0; k < N; k++)
                of_all += c.done[k] - before[k];
            /* members that have not begun when the caller is done are not needed */
            wrong += meet ? of_all != n * n : apart ? of_all != n : of_all < 1 || of_all > n;
            expected += of_all;
        }
        crew_end(&c.crew, 0);
        wrong += c.crew.n;
    }
    printf("%ld wrong of %ld\n", wrong, expected);
    return wrong != 0;
}
