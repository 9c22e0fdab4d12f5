/**
 * The nodes that a graph is built with, as its source says: `addNode` in a chain or on a variable, in any of its spellings.
 *
 * It is only asked for nodes that are known to be graphs, so what it does not understand is left out.
 */
import type { CallExpression, Expression, Node, Symbol as TsSymbol } from "typescript";
import type { TypeContext } from "./type-schema.js";

/** What is found of a graph's nodes: the expression that a node runs, by the node's name. */
export type NodeExpressions = ReadonlyMap<string, Expression>;

/** The nodes of the graph that `declared` stands for: a variable, a function that makes it, an exported expression. */
export function nodeExpressions(context: TypeContext, declared: TsSymbol): NodeExpressions {
  const found = new Map<string, Expression>();
  new NodeSearch(context, found).symbol(declared);
  return found;
}

/** The same of the graph that an expression makes. */
export function nodesOfExpression(context: TypeContext, expression: Expression): NodeExpressions {
  const found = new Map<string, Expression>();
  new NodeSearch(context, found).expression(expression);
  return found;
}

class NodeSearch {
  readonly #context: TypeContext;
  readonly #found: Map<string, Expression>;
  readonly #seen = new Set<Node | TsSymbol>();

  constructor(context: TypeContext, found: Map<string, Expression>) {
    this.#context = context;
    this.#found = found;
  }

  symbol(symbol: TsSymbol): void {
    const { ts } = this.#context;
    const target = symbol.flags & ts.SymbolFlags.Alias ? this.#checker.getAliasedSymbol(symbol) : symbol;
    if (this.#seen.has(target)) return;
    this.#seen.add(target);
    for (const declaration of target.declarations ?? []) {
      if (ts.isExportAssignment(declaration)) this.expression(declaration.expression);
      if (ts.isVariableDeclaration(declaration) && declaration.initializer !== undefined) {
        this.expression(declaration.initializer);
        this.#callsOn(target, declaration.getSourceFile());
      }
      if (ts.isFunctionDeclaration(declaration)) this.#returned(declaration);
    }
  }

  expression(expression: Expression): void {
    const { ts } = this.#context;
    const inner = this.#bare(expression);
    if (this.#seen.has(inner)) return;
    this.#seen.add(inner);
    if (ts.isIdentifier(inner)) {
      const symbol = this.#checker.getSymbolAtLocation(inner);
      if (symbol !== undefined) this.symbol(symbol);
    } else if (ts.isFunctionLike(inner)) {
      this.#returned(inner);
    } else if (ts.isCallExpression(inner)) {
      this.#call(inner);
    }
  }

  #call(call: CallExpression): void {
    const { ts } = this.#context;
    const target = call.expression;
    if (ts.isPropertyAccessExpression(target)) {
      if (target.name.text === "addNode" || target.name.text === "addSequence") this.#nodesOf(call);
      this.expression(target.expression); // the chain goes on
    } else {
      this.expression(target); // a function that makes the graph
    }
  }

  /** `addNode(name, action, options)`, `addNode({ name: action })`, `addNode([[name, action, options]])`. */
  #nodesOf(call: CallExpression): void {
    const { ts } = this.#context;
    const [first, action, options] = call.arguments;
    if (first === undefined) return;
    const nodes = this.#bare(first);
    if (ts.isObjectLiteralExpression(nodes)) {
      for (const property of nodes.properties) {
        if (ts.isPropertyAssignment(property))
          this.#node(this.#checker.getSymbolAtLocation(property.name)?.name, property.initializer);
        if (ts.isShorthandPropertyAssignment(property)) this.#node(property.name.text, property.name);
      }
    } else if (ts.isArrayLiteralExpression(nodes)) {
      for (const element of nodes.elements.map((each) => this.#bare(each))) {
        if (!ts.isArrayLiteralExpression(element)) continue;
        const [name, run, settings] = element.elements;
        this.#node(name && this.#text(name), run, settings);
      }
    } else {
      this.#node(this.#text(nodes), action, options);
    }
  }

  /** Where options name subgraphs, LangGraph takes those. */
  #node(name: string | undefined, action: Expression | undefined, options?: Expression): void {
    const graph = this.#subgraphIn(options) ?? action;
    if (name !== undefined && graph !== undefined && !this.#found.has(name)) this.#found.set(name, graph);
  }

  #subgraphIn(options: Expression | undefined): Expression | undefined {
    const { ts } = this.#context;
    if (options === undefined || !ts.isObjectLiteralExpression(options)) return undefined;
    const listed = options.properties
      .filter(ts.isPropertyAssignment)
      .find(({ name }) => name.getText() === "subgraphs");
    const list = listed && this.#bare(listed.initializer);
    return list !== undefined && ts.isArrayLiteralExpression(list) ? list.elements.at(-1) : undefined;
  }

  #text(name: Expression): string | undefined {
    const type = this.#checker.getTypeAtLocation(name);
    return type.isStringLiteral() ? type.value : undefined;
  }

  /** `builder.addNode(…)` as statements of their own. */
  #callsOn(builder: TsSymbol, within: Node): void {
    const { ts } = this.#context;
    const visit = (node: Node): void => {
      if (ts.isCallExpression(node) && this.#rootOf(node) === builder) this.expression(node);
      else ts.forEachChild(node, visit);
    };
    visit(within);
  }

  /** The variable that a chain of calls begins with. */
  #rootOf(call: CallExpression): TsSymbol | undefined {
    const { ts } = this.#context;
    let node: Expression = call;
    while (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      node = this.#bare(node.expression.expression);
    }
    return node !== call && ts.isIdentifier(node) ? this.#checker.getSymbolAtLocation(node) : undefined;
  }

  #returned(maker: Node): void {
    const { ts } = this.#context;
    if (ts.isArrowFunction(maker) && !ts.isBlock(maker.body)) this.expression(maker.body);
    const visit = (node: Node): void => {
      if (ts.isReturnStatement(node) && node.expression !== undefined) this.expression(node.expression);
      if (!ts.isFunctionLike(node)) ts.forEachChild(node, visit);
    };
    ts.forEachChild(maker, visit);
  }

  /** Without what does not change the value. */
  #bare(expression: Expression): Expression {
    const { ts } = this.#context;
    const isWrapping =
      ts.isParenthesizedExpression(expression) ||
      ts.isAsExpression(expression) ||
      ts.isSatisfiesExpression(expression) ||
      ts.isNonNullExpression(expression) ||
      ts.isAwaitExpression(expression);
    return isWrapping ? this.#bare(expression.expression) : expression;
  }

  get #checker() {
    return this.#context.program.getTypeChecker();
  }
}
