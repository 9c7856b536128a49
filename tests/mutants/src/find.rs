// SPDX-License-Identifier: GPL-2.0

//! Which changes can be made to a file.

use crate::changes::{acts, operators, values};
use proc_macro2::Span;
use std::ops::Range;
use syn::{
    spanned::Spanned,
    visit::{self, Visit},
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprIf, ExprMatch, ExprRepeat, ExprUnary,
    ExprWhile, GenericArgument, ImplItemConst, ImplItemFn, ItemConst, ItemFn, ItemImpl, ItemMod,
    ItemStatic, ItemTrait, Macro, Pat, PathArguments, ReturnType, Signature, Stmt, TraitItemConst,
    TraitItemFn, Type, UnOp, Variant,
};

/// What a change is made to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An expression: there is another in its place.
    Expr,
    /// A function's body: it returns at once.
    Body,
    /// A statement: it is not there.
    Stmt,
    /// An arm of a match: it is not there.
    Arm,
}

/// A change.
pub(crate) struct Change {
    /// What is there instead: an expression for [`Kind::Expr`], what is returned for [`Kind::Body`].
    pub(crate) text: String,
    /// In words.
    pub(crate) what: String,
}

/// A place that can be changed, in one way at a time.
pub(crate) struct Site {
    pub(crate) range: Range<usize>,
    pub(crate) kind: Kind,
    pub(crate) line: usize,
    /// The function that it is in.
    pub(crate) function: String,
    /// The compiler evaluates it.
    pub(crate) constant: bool,
    pub(crate) changes: Vec<Change>,
}

/// The places of a file, an outer one before those in it.
///
/// # Errors
///
/// Where it is no Rust.
pub(crate) fn sites(source: &str) -> syn::Result<Vec<Site>> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder {
        source,
        owner: String::new(),
        function: String::new(),
        constant: false,
        sites: Vec::new(),
    };
    finder.visit_file(&file);
    Ok(finder.sites)
}

struct Finder<'a> {
    source: &'a str,
    owner: String,
    function: String,
    constant: bool,
    sites: Vec<Site>,
}

impl Finder<'_> {
    fn text(&self, span: Span) -> &str {
        &self.source[span.byte_range()]
    }

    /// The same on one line, and not too long.
    fn brief(&self, span: Span) -> String {
        let words: Vec<_> = self.text(span).split_whitespace().collect();
        let text = words.join(" ");
        match text.char_indices().nth(70) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }

    fn site(&mut self, kind: Kind, span: Span, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.sites.push(Site {
                range: span.byte_range(),
                kind,
                line: span.start().line,
                function: self.function.clone(),
                constant: self.constant,
                changes,
            });
        }
    }

    /// An expression, and what may be in its place.
    fn expr(&mut self, span: Span, texts: impl IntoIterator<Item = String>) {
        let brief = self.brief(span);
        let change = |text: String| {
            let what = format!("`{brief}` becomes `{}`", short(&text));
            Change { text, what }
        };
        let changes = texts.into_iter().map(change).collect();
        self.site(Kind::Expr, span, changes);
    }

    fn condition(&mut self, condition: &Expr, texts: &[&str]) {
        if !contains_let(condition) {
            self.expr(condition.span(), texts.iter().map(|&text| text.into()));
        }
        self.inside_of_condition(condition);
    }

    /// What is said of a condition as a whole is not said again of its operator.
    fn inside_of_condition(&mut self, condition: &Expr) {
        match condition {
            Expr::Unary(not) if matches!(not.op, UnOp::Not(_)) => self.visit_expr(&not.expr),
            Expr::Binary(binary) if matches!(binary.op, BinOp::Eq(_) | BinOp::Ne(_)) => {
                visit::visit_expr_binary(self, binary);
            }
            _ => self.visit_expr(condition),
        }
    }

    fn in_function(&mut self, attrs: &[Attribute], sig: &Signature, block: &Block) {
        // How things are printed is nobody's business but a reader's.
        if for_tests(attrs) || sig.ident == "fmt" {
            return;
        }
        let function = match &*self.owner {
            "" => sig.ident.to_string(),
            owner => format!("{owner}::{}", sig.ident),
        };
        let function = std::mem::replace(&mut self.function, function);
        let constant = std::mem::replace(&mut self.constant, sig.constness.is_some());
        let span = block.span();
        let body = self.text(span);
        let body = body[1..body.len() - 1].trim();
        let values = match &sig.output {
            ReturnType::Default if body.is_empty() => vec![],
            ReturnType::Default => vec![String::new()],
            ReturnType::Type(_, ty) => values(ty),
        };
        let changes = values
            .into_iter()
            .filter(|value| value.is_empty() || body != value)
            .map(|text| {
                let what = match &*text {
                    "" => "does nothing".into(),
                    _ => format!("returns `{text}`"),
                };
                Change { text, what }
            })
            .collect();
        self.site(Kind::Body, span, changes);
        visit::visit_block(self, block);
        self.function = function;
        self.constant = constant;
    }

    fn in_constant(&mut self, name: &str, what: impl FnOnce(&mut Self)) {
        let constant = std::mem::replace(&mut self.constant, true);
        let function = self.function.clone();
        if !name.is_empty() {
            self.function = name.into();
        }
        what(self);
        self.constant = constant;
        self.function = function;
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.in_function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.in_function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.in_function(&item.attrs, &item.sig, block);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let owner = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        let owner = std::mem::replace(&mut self.owner, owner.unwrap_or_default());
        visit::visit_item_impl(self, item);
        self.owner = owner;
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        let owner = std::mem::replace(&mut self.owner, item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.owner = owner;
    }

    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        let name = item.ident.to_string();
        self.in_constant(&name, |this| this.visit_expr(&item.expr));
    }

    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        let name = item.ident.to_string();
        self.in_constant(&name, |this| this.visit_expr(&item.expr));
    }

    fn visit_impl_item_const(&mut self, item: &'ast ImplItemConst) {
        let name = item.ident.to_string();
        self.in_constant(&name, |this| this.visit_expr(&item.expr));
    }

    fn visit_trait_item_const(&mut self, item: &'ast TraitItemConst) {
        if let Some((_, expr)) = &item.default {
            let name = item.ident.to_string();
            self.in_constant(&name, |this| this.visit_expr(expr));
        }
    }

    fn visit_variant(&mut self, item: &'ast Variant) {
        let name = item.ident.to_string();
        self.in_constant(&name, |this| visit::visit_variant(this, item));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.in_constant("", |this| this.visit_expr(&repeat.len));
    }

    // There are no expressions in these, or the compiler needs them to see what fits what.
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_path_arguments(&mut self, _: &'ast PathArguments) {}
    fn visit_generic_argument(&mut self, _: &'ast GenericArgument) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_macro(&mut self, _: &'ast Macro) {}

    fn visit_expr_if(&mut self, expr: &'ast ExprIf) {
        self.condition(&expr.cond, &["true", "false"]);
        self.visit_block(&expr.then_branch);
        if let Some((_, otherwise)) = &expr.else_branch {
            self.visit_expr(otherwise);
        }
    }

    fn visit_expr_while(&mut self, expr: &'ast ExprWhile) {
        self.condition(&expr.cond, &["false"]);
        self.visit_block(&expr.body);
    }

    fn visit_expr_match(&mut self, expr: &'ast ExprMatch) {
        let last = expr.arms.iter().position(catches_all);
        self.visit_expr(&expr.expr);
        for (n, arm) in expr.arms.iter().enumerate() {
            if let Some((_, guard)) = &arm.guard {
                self.condition(guard, &["true", "false"]);
            } else if last.is_some_and(|last| n < last) {
                let what = format!("no arm `{}`", self.brief(arm.pat.span()));
                let text = String::new();
                self.site(Kind::Arm, arm.pat.span(), vec![Change { text, what }]);
            }
            self.visit_expr(&arm.body);
        }
    }

    fn visit_expr_binary(&mut self, expr: &'ast ExprBinary) {
        let (left, right) = (
            self.text(expr.left.span()).to_owned(),
            self.text(expr.right.span()).to_owned(),
        );
        let texts = operators(&expr.op)
            .iter()
            .map(|op| format!("{left} {op} {right}"));
        self.expr(expr.span(), texts);
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast ExprUnary) {
        if matches!(expr.op, UnOp::Not(_) | UnOp::Neg(_)) {
            let text = self.text(expr.expr.span()).to_owned();
            self.expr(expr.span(), [text]);
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        if let Stmt::Expr(expr, Some(_)) = stmt {
            if acts(expr) {
                let what = format!("no `{}`", self.brief(stmt.span()));
                let text = String::new();
                self.site(Kind::Stmt, stmt.span(), vec![Change { text, what }]);
            }
        }
        visit::visit_stmt(self, stmt);
    }
}

fn short(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(70) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn for_tests(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("cfg")
            && matches!(attr.parse_args::<syn::Path>(), Ok(path) if path.is_ident("test"))
    })
}

fn contains_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => contains_let(&binary.left) || contains_let(&binary.right),
        _ => false,
    }
}

fn catches_all(arm: &Arm) -> bool {
    let pattern = match &arm.pat {
        Pat::Wild(_) => true,
        Pat::Ident(ident) => {
            let name = ident.ident.to_string();
            ident.subpat.is_none() && name.starts_with(|c: char| c.is_lowercase() || c == '_')
        }
        _ => false,
    };
    pattern && arm.guard.is_none()
}
