/** Parameters of a technique as data: what a suite or the command line may say of each, and what it is when they say nothing. */

export type ParameterValue = boolean | number | string;

export interface ParameterInfo {
  readonly name: string;
  readonly description: string;
  /** Its value when nothing is said; of the type that it has. */
  readonly usual: ParameterValue;
  /** Of a number: the least and the most. */
  readonly range?: readonly [least: number, most: number];
  /** Of a word: all that there are. */
  readonly words?: readonly string[];
}
